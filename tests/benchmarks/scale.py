"""How much of everything one measurement does."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Scale:
    rounds: int = 3
    # Seconds that a measurement repeats its request, and that a row may take on one server over all rounds.
    seconds: float = 3
    row_seconds: float = 40
    threads: int = 5000
    matching: int = 50
    many_threads: int = 100_000
    clients: int = 32
    crowd: int = 256
    streams: int = 16
    tokens: int = 2000
    async_sleepers: int = 300
    sync_sleepers: int = 100
    sleep: float = 1
    steps: int = 50
    # Threads whose history is read for the first time, and messages of a state that is read.
    cold_threads: int = 7
    messages: int = 50
    # Streams that have ended when memory is measured.
    finished_streams: int = 400
    # The longest to wait until a server that has just started does nothing any more.
    settle_seconds: float = 20
    # Minutes until memory is measured again; 0: it is not.
    rest_minutes: float = 0
    burn: float = 2
    # Most runs that wait at once.
    waiting: int = 1000

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# Shows that every row works; its figures mean nothing.
QUICK = Scale(
    rounds=1,
    seconds=0.2,
    threads=40,
    matching=20,
    clients=4,
    crowd=8,
    streams=2,
    tokens=40,
    async_sleepers=6,
    sync_sleepers=3,
    sleep=0.05,
    steps=6,
    cold_threads=2,
    messages=3,
    finished_streams=4,
    settle_seconds=0.5,
    burn=0.3,
    waiting=10,
)
