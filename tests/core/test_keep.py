"""What an encoded value takes up that outlives the call which encoded it."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from platform_site.core.checkpoints.sqlite.saver import _json
from platform_site.core.events.interface import Event
from platform_site.core.events.memory import MemoryEventLog
from platform_site.core.graphs.output import Output
from platform_site.core.redis.scripts import CLOSE
from platform_site.core.redis.writer import Lines, RedisWriter
from platform_site.core.wire import encode, keep
from runs.streaming.modes import EventEncoder
from threads.head import Head

COUNT = 2000
# What a small value may take with all that is kept around it.
SMALL = 600


def each(make: Callable[[int], Any]) -> float:
    """The bytes that each of many results of `make` takes up for as long as it is held."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = [make(number) for number in range(COUNT)]
        return (tracemalloc.get_traced_memory()[0] - before) / len(held)
    finally:
        tracemalloc.stop()


def new_log() -> MemoryEventLog:
    return MemoryEventLog(max_bytes=10**9, ttl=60, resumable_ttl=60, abandoned_after=60)


class NoRedis:
    """A link to a Redis that never answers: what is written waits."""

    def submit(self, coroutine: Any) -> None:
        coroutine.close()

    def call(self, function: Any, *args: Any) -> None:
        pass


@pytest.fixture
def writer() -> RedisWriter:
    return RedisWriter(NoRedis())  # type: ignore[arg-type]


def test_encoder_itself_holds_its_buffer() -> None:
    """Should this fail, orjson has changed and `keep` may go."""
    assert each(lambda number: encode({"n": number})) > 1000


def test_kept_value_takes_what_it_holds() -> None:
    assert each(lambda number: keep(encode({"n": number}))) < 100


def test_events_in_memory() -> None:
    log = new_log()
    assert each(lambda number: log.append("run", "values", encode({"n": number}))) < SMALL


def test_outcomes_in_memory() -> None:
    log, bare = new_log(), new_log()
    without = each(lambda number: bare.close(str(number), b""))
    assert each(lambda number: log.close(str(number), encode({"n": number}))) - without < SMALL


def test_events_that_wait_for_redis(writer: RedisWriter) -> None:
    lines = Lines("stream", "state", 1, 100, 100, 100)
    assert each(lambda number: writer.append(lines, "values", encode({"n": number}))) < SMALL


def test_outcomes_that_wait_for_redis(writer: RedisWriter) -> None:
    assert each(lambda number: writer.call(CLOSE, ["stream", "state"], [1, encode({"n": number}), 1, 1])) < SMALL


def test_metadata_of_checkpoints_that_wait_for_the_writer() -> None:
    assert each(lambda number: _json({"step": number})) < SMALL


def test_last_values_of_a_run_in_work() -> None:
    def streamed(number: int) -> tuple[EventEncoder, list[Event]]:
        encoder = EventEncoder(["values"], subgraphs=False)
        return encoder, [Event("", name, keep(data)) for name, data in encoder.events((), "values", {"n": number})]

    bare = each(lambda number: EventEncoder(["values"], subgraphs=False))
    assert each(streamed) - bare < 2 * SMALL


def test_mirror_of_a_head() -> None:
    from langgraph.types import StateSnapshot

    from threads.head import head_of

    def head(number: int) -> Head:
        return head_of(StateSnapshot({"n": number}, (), {}, None, "now", None, (), ()), Output())

    assert each(head) < SMALL
