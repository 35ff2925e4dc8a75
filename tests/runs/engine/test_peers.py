"""How runs and their ends reach other processes: a real Redis, and workers that note what they are told."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.signals import RedisSignals
from platform_site.core.redis.writer import RedisWriter
from runs.engine import peers as module
from runs.engine.peers import QUEUE, Peers
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


class Noting:
    """A worker with room for so many runs, which it keeps."""

    def __init__(self, capacity: int = 1000) -> None:
        self.capacity = capacity
        self.taken: list[UUID] = []
        self.told: list[tuple[Any, ...]] = []
        self.failing = 0

    def room(self) -> int:
        return self.capacity - len(self.taken)

    async def take(self, run_ids: list[UUID]) -> None:
        if self.failing:
            self.failing -= 1
            raise ValueError("the database is away")
        self.taken += run_ids

    def look(self) -> None:
        self.told.append(("look",))

    def cancel_here(self, run_id: UUID, action: str) -> bool:
        self.told.append(("cancel", run_id, action))
        return True

    def lose_here(self, run_ids: list[UUID]) -> None:
        self.told.append(("lose", *run_ids))

    def end_lost(self, run_id: UUID, owner: str) -> None:
        self.told.append(("end", run_id, owner))


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def make_peers(redis_url: str) -> Iterator[Callable[[], Peers]]:
    """Makes the peers of one more process, ready to hear."""
    links: list[RedisLink] = []

    def make() -> Peers:
        link = RedisLink(redis_url)
        links.append(link)
        signals, heard = RedisSignals(link, RedisWriter(link)), threading.Event()
        signals.on("ready", heard.set)
        peers = Peers(link, signals._writer, signals)
        while not heard.wait(0.05):
            signals.send("ready")
        return peers

    yield make
    for link in links:
        link.close()


@pytest.fixture
def web(make_peers: Callable[[], Peers]) -> Peers:
    return make_peers()


def working(make_peers: Callable[[], Peers], worker: Noting) -> Noting:
    make_peers().serve(worker)
    return worker


def test_a_run_that_is_offered_is_taken_by_one_worker(make_peers, web) -> None:
    workers = [working(make_peers, Noting()) for _ in range(3)]
    offered = [uuid4() for _ in range(200)]
    for run_id in offered:
        web.offer(run_id)
    eventually(lambda: sum(len(worker.taken) for worker in workers) == len(offered))
    assert sorted(run_id for worker in workers for run_id in worker.taken) == sorted(offered)


def test_runs_are_taken_in_the_order_in_which_they_were_offered(make_peers, web) -> None:
    offered = [uuid4() for _ in range(50)]
    for run_id in offered:
        web.offer(run_id)
    worker = working(make_peers, Noting())
    eventually(lambda: len(worker.taken) == len(offered))
    assert worker.taken == offered


def test_a_worker_takes_no_more_than_it_has_room_for(make_peers, web, redis_url: str) -> None:
    full = working(make_peers, Noting(capacity=3))
    for _ in range(8):
        web.offer(uuid4())
    eventually(lambda: len(full.taken) == 3)
    with redis.Redis.from_url(redis_url) as commands:
        eventually(lambda: commands.llen(QUEUE) == 5)
    another = working(make_peers, Noting())
    eventually(lambda: len(another.taken) == 5)
    assert len(full.taken) == 3


def test_a_worker_that_has_room_again_takes_what_waits(make_peers, web) -> None:
    peers, worker = make_peers(), Noting(capacity=1)
    peers.serve(worker)
    first, second = uuid4(), uuid4()
    web.offer(first)
    web.offer(second)
    eventually(lambda: worker.taken == [first])
    worker.capacity = 2
    peers.has_room_again()
    eventually(lambda: worker.taken == [first, second])


def test_an_offer_without_a_run_lets_one_worker_look_at_all(make_peers, web) -> None:
    workers = [working(make_peers, Noting()) for _ in range(2)]
    web.offer(None)
    last = uuid4()
    web.offer(last)
    eventually(lambda: any(last in worker.taken for worker in workers))
    assert sum(worker.told.count(("look",)) for worker in workers) == 1


def test_a_claim_that_fails_does_not_end_the_taking(make_peers, web) -> None:
    worker = Noting()
    worker.failing = 1
    working(make_peers, worker)
    web.offer(uuid4())
    eventually(lambda: worker.failing == 0)
    last = uuid4()
    web.offer(last)
    eventually(lambda: worker.taken == [last])


def test_cancels_deletes_and_ends_reach_every_worker(make_peers, web) -> None:
    workers = [working(make_peers, Noting()) for _ in range(2)]
    one, two = uuid4(), uuid4()
    web.cancel(one, "interrupt")
    web.lose([one, two])
    web.end(two, "web/2/1/end")
    for worker in workers:
        eventually(partial(lambda told: len(told) == 3, worker.told))
        assert worker.told == [("cancel", one, "interrupt"), ("lose", one, two), ("end", two, "web/2/1/end")]


# A database thread may have a connection from before.
@pytest.mark.django_db
async def test_who_waits_for_a_run_to_be_let_go_is_told(make_peers, web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    run_id, held = uuid4(), [True]
    waiting = asyncio.create_task(web.let_go(run_id, lambda _: held[0], 60))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    held[0] = False
    make_peers().released(run_id)
    await asyncio.wait_for(waiting, 20)


@pytest.mark.django_db
async def test_a_wait_for_a_run_ends_without_a_signal_too(web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    held = iter([True, True, False])
    await asyncio.wait_for(web.let_go(uuid4(), lambda _: next(held), 60), 20)
    await asyncio.wait_for(web.let_go(uuid4(), lambda _: True, 0.05), 20)
