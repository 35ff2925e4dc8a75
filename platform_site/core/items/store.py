"""The operations of LangGraph's stores, the same on both databases.

`ItemStore` comes before an official store and replaces the statements of its operations; tables, migrations and
connections stay the official ones. The official statements differ from each other and from the contract: the newest
item first; SQLite keeps times in whole seconds, shows expired items and takes only plain keys in filters; PostgreSQL
compares numbers as text and keeps whole minutes; both leave vectors behind when an item is replaced, look at too few of
them when an item has several, and wait for the embedding model inside of a transaction.

Statements are written with `?` for parameters. What the databases write differently is in the methods at the end.
"""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, cast

import orjson
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
    validate_op_namespace,
)

from platform_site.core.errors import NOT_STORABLE
from platform_site.core.items.embeddings import Embedder
from platform_site.core.items.filters import UnsupportedOperator, conditions
from platform_site.core.project.sections import LONGEST_MINUTES
from platform_site.core.wire import encode, has_nul

# Together they are a key of an index, and PostgreSQL's take some 2,700 bytes.
LONGEST_NAME_BYTES = 2000
LONGEST_PATH_BYTES = 500
# No namespace has more labels, as each takes a byte and its dot another.
MOST_LABELS = LONGEST_NAME_BYTES // 2 + 1
# PostgreSQL takes 65,535 parameters in a statement.
MOST_CONDITIONS = 1000
# What one item may give to the embedding model: paths multiply what a value holds.
MOST_TEXTS = 1000
MOST_TEXT_BYTES = 100_000_000
# Numbers that both databases take.
_MOST_ROWS = 2**31 - 1

Row = Sequence[Any]
ORDER = "created_at, prefix {bytewise}, key {bytewise}"


class NotStorable(ValueError):
    """An item that the store cannot keep; the message says why."""


class StoreClock:
    """The time of a store. Items are ordered by when they were put, so no two of a process get the same moment."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self._last = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def next(self) -> datetime:
        """Now, or the moment after the last one given."""
        with self._lock:
            self._last = max(self.now(), self._last + timedelta(microseconds=1))
            return self._last


@dataclass(frozen=True)
class _Put:
    """An item as it is written; without a value it is deleted."""

    prefix: str
    key: str
    moment: datetime = datetime.min
    value: str | None = None
    ttl: float | None = None
    expires: datetime | None = None
    paths: list[str] | None = None
    # The name of a vector and the text it is made of.
    texts: list[tuple[str, str]] = field(default_factory=list)


class ItemStore(BaseStore):
    """An official store whose operations mean the same on every database.

    Reads of a batch see what was there before its writes; of several writes of an item the last one counts. Texts are
    embedded before a transaction begins. An expired item is absent from everything, swept or not.
    """

    clock: StoreClock
    embedder: Embedder | None
    # Whether there is a table of vectors, perhaps of a time when an index was configured.
    has_vectors: bool

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        for op in ops:
            validate_op_namespace(op)
        puts = self._puts([op for op in ops if isinstance(op, PutOp)])
        texts = [text for put in puts for _, text in put.texts]
        vectors = await self.embedder.documents(texts) if self.embedder else []
        queries = [await self._query_vector(op) for op in ops]
        results: list[Result] = [None] * len(ops)
        seen: list[Row] = []
        if len(ops) > sum(isinstance(op, PutOp) for op in ops):
            async with self.reading() as cursor:
                for index, op in enumerate(ops):
                    results[index] = await self._read(cursor, op, queries[index], seen)
        if refreshed := sorted({row[:2]: row for row in seen if row[5] is not None}.items()):
            async with self.writing() as cursor:
                await self._refresh(cursor, [row for _, row in refreshed])
        if puts:
            async with self.writing() as cursor:
                await self._write(cursor, puts, vectors)
        return results

    # Before the transaction.

    def _puts(self, ops: list[PutOp]) -> list[_Put]:
        last: dict[tuple[str, str], PutOp] = {}
        for op in ops:
            name = ".".join(op.namespace), str(op.key)
            last.pop(name, None)
            last[name] = op
        # No key has a NUL: a delete of one that has is done.
        puts = [self._put(*name, op) for name, op in last.items() if op.value is not None or "\x00" not in name[1]]
        # Written in one order everywhere, so that two batches never wait for each other.
        return sorted(puts, key=lambda put: (put.prefix, put.key))

    def _put(self, prefix: str, key: str, op: PutOp) -> _Put:
        if op.value is None:
            return _Put(prefix, key)
        if len(prefix.encode()) + len(key.encode()) > LONGEST_NAME_BYTES:
            raise NotStorable(f"A namespace and a key have at most {LONGEST_NAME_BYTES} bytes together")
        if op.ttl is not None and not 0 < op.ttl <= LONGEST_MINUTES:
            raise NotStorable(f"A time to live is more than 0 and at most {LONGEST_MINUTES} minutes")
        paths = [] if op.index is False else op.index
        for path in paths or ():
            if len(path.encode()) > LONGEST_PATH_BYTES:
                raise NotStorable(f"A path in `index` has at most {LONGEST_PATH_BYTES} bytes")
        # As deep as a list of items shows it: what is stored can be given back.
        value = encode([[[dict(op.value)]]])[3:-3]
        if has_nul(value) or has_nul(encode([prefix, key, paths])):
            raise NotStorable(NOT_STORABLE)
        if paths is not None and sum(1 + path.count(",") for path in paths) * len(value) > MOST_TEXT_BYTES:
            raise NotStorable(f"The paths of `index` may name at most {MOST_TEXT_BYTES} bytes of an item's value")
        if len(texts := self.texts(value, paths)) > MOST_TEXTS:
            raise NotStorable(f"At most {MOST_TEXTS} texts of an item are embedded")
        expires = None if op.ttl is None else self.clock.now() + timedelta(minutes=op.ttl)
        return _Put(prefix, key, self.clock.next(), value.decode(), op.ttl, expires, paths, texts)

    def texts(self, value: bytes | str, paths: list[str] | None) -> list[tuple[str, str]]:
        """The names and texts of an item's vectors. `paths` are those of the item, None for the configured ones."""
        if self.embedder is None or paths == []:
            return []
        found: dict[str, str] = {}
        decoded = orjson.loads(value)
        for path in self.embedder.fields if paths is None else paths:
            texts = get_text_at_path(decoded, path)
            found |= {path if len(texts) == 1 else f"{path}.{number}": text for number, text in enumerate(texts)}
        return list(found.items())

    async def _query_vector(self, op: Op) -> list[float] | None:
        if self.embedder is None or not isinstance(op, SearchOp) or not op.query:
            return None
        return await self.embedder.query(op.query)

    # Reads.

    async def _read(self, cursor: Any, op: Op, vector: list[float] | None, seen: list[Row]) -> Result:
        """The result of one operation; rows whose time to live it prolongs are added to `seen`."""
        if isinstance(op, ListNamespacesOp):
            return await self._namespaces(cursor, op)
        if isinstance(op, PutOp):
            return None
        rows = await self._get(cursor, op) if isinstance(op, GetOp) else await self._search(cursor, op, vector)
        if op.refresh_ttl:
            seen += rows
        if isinstance(op, GetOp):
            return self.item(rows[0]) if rows else None
        return [self._search_item(row) for row in rows]

    async def _get(self, cursor: Any, op: GetOp) -> list[Row]:
        if "\x00" in str(op.key):
            return []
        return await self.rows(
            cursor,
            f"SELECT {self.columns} FROM store WHERE prefix = ? AND key = ? AND {ALIVE}",
            [".".join(op.namespace), str(op.key), self.moment(self.clock.now())],
        )

    async def _search(self, cursor: Any, op: SearchOp, vector: list[float] | None) -> list[Row]:
        place, params = self.within(".".join(op.namespace_prefix))
        place, params = f"{place} AND {ALIVE}", [*params, self.moment(self.clock.now())]
        page = [min(max(op.limit, 0), _MOST_ROWS), min(max(op.offset, 0), _MOST_ROWS)]
        if op.filter and has_nul(encode(op.filter)):
            raise NotStorable(NOT_STORABLE)
        try:
            if op.filter and len(conditions(op.filter)) > MOST_CONDITIONS:
                raise NotStorable(f"A filter has at most {MOST_CONDITIONS} conditions")
            condition, more = self._filtered(op.filter) if op.filter else ("TRUE", [])
        except UnsupportedOperator:
            # Nothing is wrong with it as long as there is nothing to compare.
            if await self.rows(cursor, f"SELECT 1 FROM store WHERE {place} LIMIT 1", params):
                raise
            return []
        where, params = f"{place} AND {condition}", [*params, *more]
        if vector is not None:
            return await self._most_similar(cursor, where, params, vector, page)
        order = ORDER.format(bytewise=self.bytewise)
        statement = f"SELECT {self.columns} FROM store WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
        return await self.rows(cursor, statement, [*params, *page])

    async def _most_similar(
        self, cursor: Any, where: str, params: list[Any], vector: list[float], page: list[int]
    ) -> list[Row]:
        """Rows with their score at the end: that of the vector of the item which is the most similar one."""
        # Beyond six digits the databases differ, and equal vectors may.
        statement = (
            "WITH scored AS ("
            f"SELECT prefix, key, MAX({self._similarity}) AS score FROM store JOIN store_vectors USING (prefix, key) "
            f"WHERE {where} GROUP BY prefix, key) "
            f"SELECT {self.columns}, score FROM scored JOIN store USING (prefix, key) "
            f"ORDER BY score DESC, {ORDER.format(bytewise=self.bytewise)} LIMIT ? OFFSET ?"
        )
        return await self.rows(cursor, statement, [self.vector(vector), *params, *page])

    async def _namespaces(self, cursor: Any, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        clauses, params = [ALIVE], [self.moment(self.clock.now())]
        for condition in op.match_conditions or ():
            if len(condition.path) > MOST_LABELS:
                return []
            if condition.path:
                clause, needed = self._matching(condition)
                clauses.append(clause)
                params += needed
        truncated = "prefix" if op.max_depth is None else self.first_labels(min(max(op.max_depth, 1), MOST_LABELS))
        # Sorted label by label: the separator counts as smaller than anything in a label.
        statement = (
            f"SELECT namespace FROM (SELECT DISTINCT {truncated} AS namespace FROM store "
            f"WHERE {' AND '.join(clauses)}) AS found "
            f"ORDER BY replace(namespace, '.', ?) {self.bytewise} LIMIT ? OFFSET ?"
        )
        page = [min(max(op.limit, 0), _MOST_ROWS), min(max(op.offset, 0), _MOST_ROWS)]
        rows = await self.rows(cursor, statement, [*params, "\x01", *page])
        return [tuple(row[0].split(".")) for row in rows]

    # Writes.

    async def _write(self, cursor: Any, puts: Sequence[_Put], vectors: Sequence[list[float]] = ()) -> None:
        """Write items with the vectors of their texts, in this order."""
        # The items before their vectors: who works on an item has its row, so nobody waits for another in a circle.
        for is_deleted, together in groupby(puts, lambda put: put.value is None):
            if is_deleted:
                await self.each(cursor, _DELETE, [(put.prefix, put.key) for put in together])
            else:
                await self.each(cursor, _PUT, [self._row(put) for put in together])
        if self.has_vectors:
            await self.each(cursor, _DELETE_VECTORS, [(put.prefix, put.key) for put in puts])
        texts = [(put.prefix, put.key, name) for put in puts for name, _ in put.texts]
        await self.put_vectors(cursor, texts, vectors)

    def _row(self, put: _Put) -> Row:
        # Put again, it is a new item: both times are new, and it comes last.
        moment = self.moment(put.moment)
        expires = None if put.expires is None else self.moment(put.expires)
        paths = None if put.paths is None else encode(put.paths).decode()
        return put.prefix, put.key, put.value, moment, moment, expires, put.ttl, paths

    async def put_vectors(
        self, cursor: Any, texts: Sequence[tuple[str, str, str]], vectors: Sequence[list[float]]
    ) -> None:
        """Add the vectors of texts, each of which is a namespace, a key and the name of the text."""
        now = self.moment(self.clock.now())
        rows = [(*text, self.vector(vector), now, now) for text, vector in zip(texts, vectors, strict=True)]
        await self.each(cursor, _PUT_VECTOR, rows)

    async def _refresh(self, cursor: Any, rows: list[Row]) -> None:
        """Prolong items that were read, unless they have expired or were put again meanwhile."""
        now = self.clock.now()
        prolonged = [
            (self.moment(now + timedelta(minutes=minutes)), prefix, key, created, self.moment(now))
            for prefix, key, _, created, _, _, minutes, *_ in rows
        ]
        await self.each(cursor, _REFRESH, prolonged)

    async def sweep(self, limit: int) -> int:
        """Delete at most `limit` expired items with their vectors; how many there were."""
        statement = f"SELECT prefix, key FROM store WHERE expires_at <= ? ORDER BY expires_at LIMIT ? {self._locked}"
        async with self.writing() as cursor:
            expired = await self.rows(cursor, statement, [self.moment(self.clock.now()), limit])
            await self._write(cursor, [_Put(prefix, key) for prefix, key in expired])
        return len(expired)

    async def rows(self, cursor: Any, statement: str, params: Sequence[Any]) -> list[Row]:
        """Execute a statement; the rows that it gives, if it gives any."""
        await cursor.execute(statement.replace("?", self.placeholder), params)
        return list(await cursor.fetchall()) if cursor.description else []

    async def each(self, cursor: Any, statement: str, params: Sequence[Sequence[Any]]) -> None:
        """Execute a statement with each of these parameters, without waiting for one before the next is sent."""
        if params:
            await cursor.executemany(statement.replace("?", self.placeholder), params)

    # From rows to items.

    def item(self, row: Row) -> Item:
        prefix, key, value, created, updated = row[:5]
        return Item(
            namespace=tuple(prefix.split(".")),
            key=key,
            value=orjson.loads(value),
            created_at=as_utc(created),
            updated_at=as_utc(updated),
        )

    def _search_item(self, row: Row) -> SearchItem:
        item = self.item(row)
        score = row[7] if len(row) > 7 else None
        return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)

    # What the databases write differently.

    # What stands for a parameter.
    placeholder: str = "?"
    # The columns of an item: prefix, key, value as text, both times, when it expires, its minutes.
    columns: str
    # How text is ordered by its bytes, which for both is the order of code points.
    bytewise: str
    # The similarity of a vector to the parameter, rounded, 0 where there is none.
    _similarity: str
    # Rows that another process works on are left to it.
    _locked: str = ""

    @abstractmethod
    def let_go(self) -> None:
        """Give back what the store holds though its loop is closed. For a thread without a loop."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Any]:
        """A cursor on one state of the database."""

    @abstractmethod
    def writing(self) -> AbstractAsyncContextManager[Any]:
        """A cursor in a transaction."""

    @abstractmethod
    def moment(self, moment: datetime) -> Any:
        """A point in time as a parameter."""

    @abstractmethod
    def vector(self, vector: list[float]) -> Any:
        """A vector as a parameter."""

    @abstractmethod
    def within(self, prefix: str) -> tuple[str, list[Any]]:
        """Whether an item lies in a namespace or below it."""

    @abstractmethod
    def _filtered(self, filter: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Whether an item's value meets a filter (see `filters.py`). Raises `UnsupportedOperator`."""

    @abstractmethod
    def _matching(self, condition: MatchCondition) -> tuple[str, list[Any]]:
        """Whether a namespace begins or ends with labels, of which `*` is any."""

    @abstractmethod
    def first_labels(self, count: int) -> str:
        """The beginning of a namespace."""


ALIVE = "(expires_at IS NULL OR expires_at > ?)"
_PUT = (
    "INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes, index_paths) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (prefix, key) DO UPDATE SET value = excluded.value, "
    "created_at = excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at, "
    "ttl_minutes = excluded.ttl_minutes, index_paths = excluded.index_paths"
)
_DELETE = "DELETE FROM store WHERE prefix = ? AND key = ?"
_DELETE_VECTORS = "DELETE FROM store_vectors WHERE prefix = ? AND key = ?"
_PUT_VECTOR = (
    "INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_REFRESH = "UPDATE store SET expires_at = ? WHERE prefix = ? AND key = ? AND created_at = ? AND expires_at > ?"


def as_utc(moment: Any) -> datetime:
    """A point in time as it was read: SQLite's is text, and LangGraph's own has no zone there, which is UTC."""
    parsed = cast(datetime, datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
