"""The load of a soak: which visits are made, and what becomes of those that fail."""

import asyncio
import time
import uuid
from collections import Counter
from typing import Any, cast

import httpx
import pytest

from tests.benchmarks.client import BadAnswer

from . import load as loads
from . import visits
from .load import Load
from .sink import Sink, open_sink
from .site import Site
from .visits import MIX, World


@pytest.fixture
def load() -> Load:
    return Load(World(None, Sink(), cookie=""), rate=500)  # type: ignore[arg-type]


def test_mix_is_a_hundred():
    assert sum(MIX.values()) == 100


async def test_first_visits_are_one_of_each_kind_and_then_the_mix(load: Load, monkeypatch: pytest.MonkeyPatch):
    made: Counter[str] = Counter()
    mix = {}
    for name, share in (("often", 1.5), ("seldom", 0.5)):

        async def visit(world: World, name: str = name) -> None:
            made[name] += 1

        mix[visit] = share
    monkeypatch.setattr(loads, "MIX", mix)
    load._deck = list(mix)

    for _ in range(2 + 4 * 10):
        await load.visit(load._next())

    assert made == {"often": 1 + 30, "seldom": 1 + 10}


async def test_failed_visit_is_counted_by_kind_without_its_ids(load: Load):
    async def unlucky(world: World) -> None:
        raise BadAnswer(f"GET /threads/{uuid.uuid4()}: 500")

    for _ in range(3):
        await load.visit(unlucky)

    assert load.visits == 3
    assert load.errors == {"unlucky: BadAnswer: GET /threads/<id>: 500": 3}
    assert "(3 times, first in minute" in load.told()[0]


async def test_answer_that_a_visit_cannot_read_is_counted(load: Load):
    async def surprised(world: World) -> None:
        [][0]

    await load.visit(surprised)

    assert load.errors == {"surprised: IndexError: list index out of range": 1}


async def test_server_that_does_not_keep_up_is_an_error(load: Load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loads, "MOST_AT_ONCE", 0)

    await load.run(time.monotonic() + 0.02)

    assert load.visits == 0
    assert ["the server does not keep up" in text for text in load.errors] == [True]


async def test_load_that_is_stopped_early_cancels_the_visits_under_way(load: Load):
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(world: World) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    load._deck = [endless] * 1000
    running = asyncio.create_task(load.run(time.monotonic() + 600))
    await begun.wait()
    running.cancel()

    await asyncio.wait_for(cancelled.wait(), 10)
    assert load.errors == {}


async def test_cron_whose_webhook_never_comes_is_deleted_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(visits, "WEBHOOK_SECONDS", 0.01)
    asked: list[tuple[str, str]] = []

    class Recorded:
        async def ask(self, method: str, path: str, *_: Any, **__: Any) -> dict[str, str]:
            asked.append((method, path))
            return {"cron_id": "1"}

    async with open_sink() as sink:
        with pytest.raises(TimeoutError):
            await visits.cron(World(cast(Site, Recorded()), sink, cookie=""))

    assert asked[-1] == ("DELETE", "/runs/crons/1")


async def test_sink_counts_webhooks_by_path():
    async with open_sink() as sink, httpx.AsyncClient(base_url=sink.url) as client:
        answers = [await client.post("/one", json={"status": "success"}) for _ in range(2)]
        await sink.arrived("/one", 5)

        assert [answer.status_code for answer in answers] == [204, 204]
        assert sink.received == {"/one": 2}
        with pytest.raises(TimeoutError):
            await sink.arrived("/other", 0.01)
