"""The route table: what belongs to which group of operations, and tables without some of them."""

from typing import cast

import pytest
from django.urls import URLPattern, URLResolver

from platform_site import api_urls
from platform_site.core.http.routing import Routes, group_of


@pytest.mark.parametrize(
    ("route", "group"),
    [
        ("/", ""),
        ("/ok", ""),
        ("/info", "meta"),
        ("/metrics", "meta"),
        ("/docs", "meta"),
        ("/openapi.json", "meta"),
        ("/assistants", "assistants"),
        ("/assistants/{assistant_id}/graph", "assistants"),
        ("/threads", "threads"),
        ("/threads/{thread_id}/state", "threads"),
        ("/threads/{thread_id}/stream", "threads"),
        ("/threads/{thread_id}/runs", "runs"),
        ("/threads/{thread_id}/runs/{run_id}/join", "runs"),
        ("/runs/batch", "runs"),
        ("/store/items", "store"),
        ("/mcp", "mcp"),
        ("/mcp/", "mcp"),
        ("/a2a/{assistant_id}", "a2a"),
        ("/.well-known/agent-card.json", "a2a"),
    ],
)
def test_group_of_a_route(route: str, group: str) -> None:
    assert group_of(route) == group


def test_a_table_without_a_group_lacks_its_routes_only() -> None:
    routes = Routes(cast("list[URLPattern | URLResolver]", api_urls.urlpatterns), without={"runs", "meta"})
    for path in ("/runs", "/threads/x/runs", "/threads/x/runs/y", "/docs", "/info"):
        assert routes.match(path) is None
    for path in ("/ok", "/threads", "/threads/x/stream", "/threads/x/state"):
        assert routes.match(path) is not None
