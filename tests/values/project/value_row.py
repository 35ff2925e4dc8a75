"""What a row of the table of values is."""

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One value. It is made anew wherever it is needed, because some can be used once only."""

    name: str
    make: Callable[[], Any]
    # What clients see, in every place.
    shown: Any
    # What clients see after a checkpoint where that differs, as it does for exceptions; None: the same.
    shown_later: Any = None
    # What nodes find in the state after a checkpoint; None: the same value of the same type.
    returns: Callable[[], Any] | None = None
    # No checkpoint can hold it: the run fails, and its error names the key and the node.
    is_refused: bool = False
    # Whether the store takes it.
    is_stored: bool = True


def row(name: str, make: Callable[[], Any], shown: Any, returns: Callable[[], Any] | None = None) -> Row:
    return Row(name, make, shown, returns=returns)


def plain(name: str, make: Callable[[], Any], shown: Any) -> Row:
    """A value that a checkpoint keeps as the plain data that clients see."""
    return Row(name, make, shown, returns=lambda: shown)


def refused(name: str, make: Callable[[], Any], shown: Any = None) -> Row:
    return Row(name, make, shown, is_refused=True)


UUID = uuid.UUID(int=7)
UTC = dt.UTC
NOON = dt.datetime(2024, 1, 2, 12, 0, 0, tzinfo=UTC)
