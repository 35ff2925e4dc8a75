"""What a row of the benchmark is, and what rows ask for alike."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .client import Address, call
from .measures import Metrics
from .scale import Scale
from .servers import Server


@dataclass(frozen=True)
class Line:
    """One line of the table. `target` is a lower bound where higher is better, else an upper bound."""

    key: str
    title: str
    unit: str
    target: float | None = None
    higher: bool = False


@dataclass(frozen=True)
class Row:
    """A measurement that gives one or more lines; its metrics carry their keys, and `client_busy`."""

    name: str
    measure: Callable[[Server, Scale], Awaitable[Metrics]]
    lines: tuple[Line, ...]
    in_process: bool = False
    # Rows that leave many threads behind run after those that count on a known number of them.
    last: bool = False
    # Too long for a quick run, which would show nothing of it.
    in_quick: bool = True
    # Measured once, on a fresh server: what other rows leave in memory would be measured, too.
    own_server: bool = False
    # The longest that one measurement may take on one server.
    limit_seconds: float = 180


def run_body(graph: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"assistant_id": graph, "input": value, **more}


async def new_thread(address: Address) -> str:
    return str((await call(address, "POST", "/threads", {}))["thread_id"])
