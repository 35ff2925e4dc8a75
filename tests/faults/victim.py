"""A server that is made to die, and what its runs left behind."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from langgraph_sdk import get_sync_client

from tests.faults.worker import DyingWorker
from tests.live import LiveServer, SyncClient

CONFIG = Path(__file__).resolve().parent / "langgraph.json"
NODES = ["n1", "n2", "n3", "n4", "n5", "n6"]
HUMAN = {"messages": [{"role": "user", "content": "hello"}]}
# How often each fault is tried, at other moments each time: `FAULT_REPEATS=50 pytest tests/faults`.
REPEATS = int(os.environ.get("FAULT_REPEATS", "2"))
# The moments at which a process is killed: at random, and between the last write of a run and its end.
MOMENTS: list[int | Literal["end"]] = [*range(REPEATS), "end"]


def seed_of(moment: int | Literal["end"], story: int) -> int | Literal["end"]:
    """The seed of a story's moment; each story has others."""
    return moment if moment == "end" else story + moment


@dataclass
class Victim:
    """A live server with the graphs of this directory and the trail of their nodes."""

    server: LiveServer | DyingWorker
    trail: Path
    # Whether a worker dies, behind a web process that lives on.
    is_scaled: bool = False

    def die_before_the_end(self, threads: list[str]) -> None:
        """Wait until the process has died in the place of the end of a run on one of these threads.

        That of a quick run may be over by now: have it begin a second later.
        """
        process = self.server.process
        assert process is not None
        self.last_breath.write_text(" ".join(threads))
        self.until(lambda: process.poll() is not None)
        # Whatever it had started goes with it.
        self.server.kill()

    @property
    def last_breath(self) -> Path:
        return self.trail.with_name("last_breath")

    @property
    def client(self) -> SyncClient:
        return get_sync_client(url=self.server.url, timeout=60)

    def starts(self, thread: str) -> list[str]:
        """The nodes that were started on a thread, in order."""
        lines = self.trail.read_text().splitlines() if self.trail.exists() else []
        return [line.split()[1] for line in lines if line.startswith(thread)]

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so within {seconds} s:\n{self.server.log[-4000:]}")
            time.sleep(0.02)

    def until_started(self, thread: str, node: str) -> None:
        self.until(lambda: node in self.starts(thread))

    def status(self, thread: str, run: str) -> str:
        return str(self.client.runs.get(thread, run)["status"])

    def until_over(self, thread: str, run: str) -> str:
        """Wait for the end of a run; its status."""
        self.until(lambda: self.status(thread, run) not in ("pending", "running"))
        return self.status(thread, run)

    def state(self, thread: str) -> Any:
        return self.client.threads.get_state(thread)

    def values(self, thread: str) -> dict[str, Any]:
        return dict(self.state(thread)["values"])

    def questions(self, thread: str) -> list[str]:
        """What the thread waits for."""
        return [found["value"] for found in self.state(thread)["interrupts"]]

    def start(self, graph: str, thread: str | None = None, **body: Any) -> tuple[str, str]:
        """Start a run, on a new thread if none is given."""
        thread = thread or self.client.threads.create()["thread_id"]
        return thread, self.client.runs.create(thread, graph, **body)["run_id"]


@dataclass
class Run:
    """A run that was in flight when its server died, and the starts of nodes before that."""

    thread: str
    run: str
    before: list[str]


def kill_among(
    victim: Victim, starters: list[Callable[[], tuple[str, str]]], window: float, seed: int | Literal["end"]
) -> list[Run]:
    """Start runs at random moments of a window, kill the server at its end, start it again and wait for all runs.

    With `end` for a seed it dies when the first of the runs is about to write its end, or, where the machine was so
    slow that all have ended, when a last one is.
    """
    dice = random.Random(seed)
    begin = time.monotonic()
    started = []
    for moment, starter in sorted((dice.uniform(0, window), index) for index in range(len(starters))):
        time.sleep(max(0.0, begin + moment - time.monotonic()))
        started.append((starter, starters[starter]()))
    if seed == "end":
        last = victim.start("six", input=HUMAN | {"delay": 0.5})
        victim.die_before_the_end([thread for thread, _ in (*(made for _, made in started), last)])
    else:
        time.sleep(max(0.0, begin + window + dice.uniform(0, 0.05) - time.monotonic()))
        victim.server.kill()
    runs = [Run(thread, run, victim.starts(thread)) for _, (thread, run) in sorted(started)]
    victim.server.start()
    for run in runs:
        victim.until_over(run.thread, run.run)
    return runs
