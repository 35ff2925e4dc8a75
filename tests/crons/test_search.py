"""Searching and counting crons, and reading their history."""

from datetime import timedelta
from typing import Any

import pytest

from crons import selectors
from crons.models import Cron, CronTick
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.errors import NotFound
from tests.api_client import ApiClient
from tests.crons.conftest import at, create, new_thread

SORTS = ["cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"]


async def search(api: ApiClient, **query: Any) -> list[dict[str, Any]]:
    answer = await api.post("/runs/crons/search", json=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["cron_id"] for row in rows]


@pytest.fixture
async def crons(principal: Principal) -> list[Cron]:
    """On a thread and disabled, ended, with metadata; the oldest first."""
    return [
        await in_db(create, principal, thread=await in_db(new_thread, principal), enabled=False),
        await in_db(create, principal, end_time="2001-01-01T00:00:00Z"),
        await in_db(create, principal, assistant_id="scripted", metadata={"a": {"b": 1, "c": 2}}),
    ]


async def test_the_newest_comes_first(api: ApiClient, crons: list[Cron]) -> None:
    assert ids(await search(api)) == [str(cron.cron_id) for cron in reversed(crons)]


async def test_filters(api: ApiClient, crons: list[Cron]) -> None:
    thread, ended, other = ([str(cron.cron_id)] for cron in crons)
    assert ids(await search(api, thread_id=str(crons[0].thread_id))) == thread
    assert ids(await search(api, enabled=False)) == thread
    assert ids(await search(api, enabled=True)) == other + ended
    assert ids(await search(api, assistant_id=str(crons[2].assistant_id))) == other
    assert ids(await search(api, metadata={"a": {"b": 1}})) == other
    assert ids(await search(api, metadata={"a": {"b": "1"}})) == []


async def test_a_cron_from_before_a_change_of_its_default_assistant_is_found_by_it(
    api: ApiClient, crons: list[Cron]
) -> None:
    scripted = str(crons[2].assistant_id)
    assert (await api.patch(f"/assistants/{scripted}", json={"name": "Mine"})).status_code == 200
    made = (await api.post("/runs/crons", json={"assistant_id": "scripted", "schedule": "@daily"})).json()
    assert ids(await search(api, assistant_id=scripted)) == [made["cron_id"], str(crons[2].cron_id)]


async def test_count_takes_the_same_filters(api: ApiClient, crons: list[Cron]) -> None:
    async def count(**query: Any) -> int:
        return int((await api.post("/runs/crons/count", json=query)).text)

    assert await count() == 3
    assert await count(thread_id=str(crons[0].thread_id)) == 1
    assert await count(assistant_id=str(crons[2].assistant_id)) == 1
    assert await count(metadata={"a": {"c": 2}}) == 1


@pytest.mark.parametrize("column", SORTS)
async def test_every_order_and_its_reverse_hold_the_same(api: ApiClient, crons: list[Cron], column: str) -> None:
    up = [row[column] for row in await search(api, sort_by=column, sort_order="asc")]
    down = [row[column] for row in await search(api, sort_by=column, sort_order="desc")]
    known = [value for value in up if value is not None]
    assert known == sorted(known)
    # What has no value comes last either way.
    assert up == known + [None] * (3 - len(known))
    assert down == known[::-1] + [None] * (3 - len(known))


async def test_select_gives_only_what_is_named(api: ApiClient, crons: list[Cron]) -> None:
    rows = await search(api, select=["schedule", "next_run_date", "created_at"], thread_id=str(crons[0].thread_id))
    assert [sorted(row) for row in rows] == [["created_at", "next_run_date", "schedule"]]


async def test_pages(api: ApiClient, crons: list[Cron]) -> None:
    answer = await api.post("/runs/crons/search", json={"limit": 2})
    assert (answer.headers["X-Pagination-Total"], answer.headers["X-Pagination-Next"]) == ("3", "2")
    answer = await api.post("/runs/crons/search", json={"limit": 2, "offset": 2})
    assert answer.headers["X-Pagination-Total"] == "3"
    assert "X-Pagination-Next" not in answer.headers
    assert ids(answer.json()) == [str(crons[0].cron_id)]


def _make_ticks(cron: Cron, outcomes: list[str]) -> None:
    first = at("2026-11-21T12:00:00")
    for index, outcome in enumerate(outcomes):
        CronTick.objects.create(cron=cron, due_at=first + timedelta(minutes=index), outcome=outcome)


async def test_the_history_of_a_cron_has_the_latest_first(principal: Principal) -> None:
    cron = await in_db(create, principal)
    await in_db(_make_ticks, cron, ["fired", "skipped", "missed"])
    found = await in_db(selectors.cron_ticks, principal, cron.cron_id, limit=2)
    assert [tick.outcome for tick in found] == ["missed", "skipped"]
    earlier = await in_db(selectors.cron_ticks, principal, cron.cron_id, before=found[-1].due_at)
    assert [tick.outcome for tick in earlier] == ["fired"]


async def test_the_history_of_a_cron_is_not_for_other_workspaces(principal: Principal) -> None:
    cron = await in_db(create, principal)
    with pytest.raises(NotFound):
        await in_db(selectors.cron_ticks, Principal(principal.workspace_id + 1), cron.cron_id)
