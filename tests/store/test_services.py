"""Services, selectors and the sweep in the process of a server: always on the state loop, workspaces apart."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from platform_site.access.principal import Principal, Role
from platform_site.core.errors import ApiError, BadRequest, Forbidden, Unprocessable
from platform_site.core.items import configured
from platform_site.core.items.sqlite import open_sqlite_store
from platform_site.core.items.store import StoreClock
from platform_site.core.items.stores import LoopStores
from platform_site.core.loops import state_loop
from platform_site.core.project.sections import Store, StoreTTL
from platform_site.processes.background_tasks import background_tasks
from store import expiry, schemas, selectors, services
from store.operations import BadLabel
from tests.store.backends import Time

ADA, BOB = Principal(1), Principal(2)


@pytest.fixture
async def time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Time]:
    time = Time()
    opened = LoopStores(lambda: open_sqlite_store(tmp_path / "store.sqlite3", clock=StoreClock(time)))
    monkeypatch.setattr(configured, "loop_stores", lambda: opened)
    yield time
    await state_loop().run(opened.close_current())


async def put(principal: Principal, namespace: list[str], key: str, **more: Any) -> None:
    await services.item_put(principal, schemas.ItemPut(namespace=namespace, key=key, value={"k": key}, **more))


async def test_workspaces_are_apart_in_every_read(time: Time) -> None:
    await put(ADA, ["n", "a"], "k")

    assert await selectors.item_get(BOB, ["n", "a"], "k") is None
    assert await selectors.items_search(BOB, schemas.ItemSearch()) == []
    assert await selectors.namespaces_list(BOB, schemas.NamespaceSearch()) == []
    assert await selectors.namespace_levels(BOB, ()) == []
    assert await selectors.items_page(BOB, ("n", "a")) == (0, [])
    assert await selectors.item_detail(BOB, ("n", "a"), "k") is None
    await services.item_delete(BOB, schemas.ItemDelete(namespace=["n", "a"], key="k"))
    assert await selectors.item_get(ADA, ["n", "a"], "k") is not None


async def test_what_pages_ask_for_hides_the_workspace(time: Time) -> None:
    await put(ADA, ["n", "a"], "k", ttl=5)

    assert [(level.label, level.items, level.has_more) for level in await selectors.namespace_levels(ADA, ())] == [
        ("n", 1, True)
    ]
    total, items = await selectors.items_page(ADA, ("n", "a"))
    shown = await selectors.item_detail(ADA, ("n", "a"), "k")
    assert (total, items) == (1, [shown])
    assert shown is not None
    assert (shown.namespace, shown.ttl_minutes) == (("n", "a"), 5)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (lambda: put(ADA, [], "k"), BadRequest),
        (lambda: put(ADA, ["langgraph"], "k"), BadRequest),
        (lambda: put(ADA, ["a", ""], "k"), BadLabel),
        (lambda: put(ADA, ["a"], "k" * 3000), Unprocessable),
        (lambda: selectors.item_get(ADA, ["a.b"], "k"), BadLabel),
    ],
)
async def test_errors_are_those_of_the_api(
    time: Time, asked: Callable[[], Coroutine[Any, Any, Any]], error: type[ApiError]
) -> None:
    with pytest.raises(error):
        await asked()


async def test_a_sweep_goes_on_until_nothing_is_left(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    for number in range(5):
        await put(ADA, ["n"], f"k{number}", ttl=1)
    await put(ADA, ["n"], "kept")
    time.goes(1)

    assert await expiry.sweep() == 5
    assert await expiry.sweep() == 0
    assert await selectors.items_page(ADA, ("n",)) == (1, [await selectors.item_detail(ADA, ("n",), "kept")])


async def test_sweeps_at_once_delete_each_item_once(time: Time) -> None:
    for number in range(20):
        await put(ADA, ["n"], f"k{number}", ttl=1)
    time.goes(1)

    assert sum(await asyncio.gather(*(expiry.sweep() for _ in range(4)))) == 20


async def test_the_first_round_only_waits(time: Time) -> None:
    assert await expiry.Sweeper().round() == expiry.FIRST


def test_a_server_sweeps_as_often_as_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    ttl = StoreTTL(sweep_interval_minutes=2)
    monkeypatch.setattr(expiry, "config", lambda: SimpleNamespace(store=Store(ttl=ttl)))

    assert {task.name: task.interval for task in background_tasks()}["store"] == 120


VIEWER = Principal(1, role=Role.VIEWER)
SCOPED = Principal(1, permissions=("store:read",))


@pytest.mark.parametrize("reader", [VIEWER, SCOPED], ids=["viewer", "scope"])
async def test_a_reader_prolongs_nothing_by_looking(time: Time, reader: Principal) -> None:
    """LangGraph's default is to begin an item's time anew when it is read."""
    await put(ADA, ["n"], "k", ttl=10)
    time.goes(6)
    assert await selectors.item_get(reader, ["n"], "k") is not None
    assert len(await selectors.items_search(reader, schemas.ItemSearch())) == 1
    time.goes(6)

    assert await selectors.item_get(ADA, ["n"], "k") is None


@pytest.mark.parametrize("reader", [VIEWER, SCOPED], ids=["viewer", "scope"])
async def test_a_reader_that_asks_to_prolong_is_refused(time: Time, reader: Principal) -> None:
    await put(ADA, ["n"], "k", ttl=10)
    with pytest.raises(Forbidden):
        await selectors.item_get(reader, ["n"], "k", refresh_ttl=True)
    with pytest.raises(Forbidden):
        await selectors.items_search(reader, schemas.ItemSearch(refresh_ttl=True))


async def test_a_writer_prolongs_what_it_reads(time: Time) -> None:
    await put(ADA, ["n"], "k", ttl=10)
    time.goes(6)
    assert await selectors.item_get(Principal(1, permissions=("store:write",)), ["n"], "k") is not None
    time.goes(6)

    assert await selectors.item_get(ADA, ["n"], "k") is not None
