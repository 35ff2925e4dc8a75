"""One page of a search: how it is asked for, and what its headers say."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from django.conf import settings
from pydantic import Field

MOST_ROWS = 1000
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS)]
# Databases take no larger number.
Offset = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Answer:
    """The parts of a JSON list, until they have `MAX_ANSWER_BYTES` together: the list ends early then."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self._size += len(part)

    @property
    def is_full(self) -> bool:
        return 0 < settings.MAX_ANSWER_BYTES <= self._size

    def fill(self, parts: Iterable[bytes]) -> bool:
        """Add parts until the answer is full or they end; return whether one of them was left out."""
        for part in parts:
            if self.is_full:
                return True
            self.add(part)
        return False

    @property
    def body(self) -> bytes:
        return b"[%b]" % b",".join(self.parts)


@dataclass(frozen=True)
class Page:
    """One page of a search and the offset of the next, where there is one."""

    body: bytes
    total: int
    next_offset: int | None

    @classmethod
    def at(cls, offset: int, body: bytes, *, rows: int, more: bool) -> "Page":
        """The page of `rows` rows that begins at `offset`; `more` if there is a row behind it."""
        return cls(body, offset + rows + more, offset + rows if more else None)

    @classmethod
    def of(cls, offset: int, limit: int, rows: Iterable[bytes]) -> "Page":
        """The page of the first `limit` of these encoded rows, or of fewer where they are large."""
        answer = Answer()
        more = answer.fill(islice(rows_left := iter(rows), limit)) or next(rows_left, None) is not None
        return cls.at(offset, answer.body, rows=len(answer.parts), more=more)

    @property
    def headers(self) -> dict[str, str]:
        """The pagination headers. The total counts up to this page, and one more if there is more."""
        headers = {"X-Pagination-Total": str(self.total)}
        if self.next_offset is not None:
            headers["X-Pagination-Next"] = str(self.next_offset)
        return headers
