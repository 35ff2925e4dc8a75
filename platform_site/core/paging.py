"""One page of a search: how it is asked for, and what its headers say."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

MOST_ROWS = 1000
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS)]
# Databases take no larger number.
Offset = Annotated[int, Field(ge=0, le=2**31 - 1)]


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

    @property
    def headers(self) -> dict[str, str]:
        """The pagination headers. The total counts up to this page, and one more if there is more."""
        headers = {"X-Pagination-Total": str(self.total)}
        if self.next_offset is not None:
            headers["X-Pagination-Next"] = str(self.next_offset)
        return headers
