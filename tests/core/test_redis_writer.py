"""What waits while Redis is away."""

from collections.abc import Iterator

import pytest

from platform_site.core.redis import writer as redis_writer
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.scripts import DISCARD
from platform_site.core.redis.writer import Call, Lines, RedisWriter
from tests.live import free_port

LINES = Lines("stream", "state", 1, 100, 100, 100)
BOUND = 40_000


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisWriter]:
    """One that reaches nobody and keeps little."""
    monkeypatch.setattr(redis_writer, "MAX_WAITING_BYTES", BOUND)
    link = RedisLink(f"redis://127.0.0.1:{free_port()}")
    yield RedisWriter(link)
    link.close()


def test_events_are_given_up_before_calls(writer: RedisWriter) -> None:
    for _ in range(50):
        writer.call(DISCARD, ["stream", "state"], [1])
    for _ in range(1000):
        writer.append(LINES, "event", b"x" * 100)
    calls = [item for item in writer._waiting if isinstance(item, Call)]
    # Those that it is just trying to send do not wait any more, but they are held.
    assert len(calls) + writer._sent_bytes // redis_writer.CALL_BYTES == 50
    assert 0 < len(writer._waiting) - len(calls) < 1000
    assert writer.held_bytes <= BOUND


def test_calls_are_given_up_when_they_are_too_many(writer: RedisWriter) -> None:
    for number in range(1000):
        writer.call(DISCARD, ["stream", "state"], [number])
    with writer._lock:
        assert 0 < sum(item.size for item in writer._waiting if isinstance(item, Call)) == writer._bytes <= BOUND
    newest = writer._waiting[-1]
    assert isinstance(newest, Call)
    assert newest.args == [999]
