"""A spy on the sizes of transactions: how many rows each changes, and by how many statements.

    async with spied_transactions() as seen:
        await api.delete(...)
    assert max(transaction.rows for transaction in seen) <= 100

It watches the thread that writes on SQLite, where whoever writes for long holds up everybody.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from platform_site.core.database.access import in_db

_CHANGES = ("INSERT", "UPDATE", "DELETE")


@dataclass
class Transaction:
    """What one transaction did, or one statement outside of any."""

    statements: int = 0
    rows: int = 0


class _Spy:
    def __init__(self) -> None:
        self.seen: list[Transaction] = []
        self._current: Transaction | None = None

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        if not sql.lstrip().startswith((*_CHANGES, "SELECT")):
            return result
        if self._current is None:
            self._current = Transaction()
            self.seen.append(self._current)
            # At once outside of a transaction.
            transaction.on_commit(self._end)
        current = self._current or self.seen[-1]
        current.statements += 1
        if sql.lstrip().startswith(_CHANGES):
            current.rows += max(0, context["cursor"].cursor.rowcount)
        return result

    def _end(self) -> None:
        self._current = None


@asynccontextmanager
async def spied_transactions() -> AsyncIterator[list[Transaction]]:
    """Collect the transactions of the writer's thread."""
    spy = _Spy()
    await in_db(lambda: connection.execute_wrappers.append(spy))
    try:
        yield spy.seen
    finally:
        await in_db(lambda: connection.execute_wrappers.remove(spy))
