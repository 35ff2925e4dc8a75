"""A checkpoint saver on SQLite whose writes of all runs are committed in groups by one thread."""

import copy
import json
import random
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite import SqliteSaver

from platform_site.core.checkpoints.fence import Fence, LeaseLost
from platform_site.core.checkpoints.fingerprints import Seen
from platform_site.core.checkpoints.serializers import require_state_size, serializer
from platform_site.core.checkpoints.sqlite.file import CheckpointFile, Work
from platform_site.core.checkpoints.sqlite.fingerprints import fingerprints
from platform_site.core.checkpoints.sqlite.maintenance import copy_thread, prune
from platform_site.core.checkpoints.sqlite.rows import (
    delete_runs,
    delete_threads,
    place,
    read_first_page,
    read_page,
    read_tuple,
)
from platform_site.core.serialization.serializer import CheckpointSerializer
from platform_site.core.wire import keep

_PUT = """
INSERT INTO checkpoints
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, metadata, checkpoint)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET parent_checkpoint_id = excluded.parent_checkpoint_id, run_id = excluded.run_id,
    type = excluded.type, metadata = excluded.metadata, checkpoint = excluded.checkpoint
"""
_PUT_WRITE = """
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, run_id, channel, type, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO
"""
_KEEP_WRITE = _PUT_WRITE + "NOTHING"
_REPLACE_WRITE = (
    _PUT_WRITE + "UPDATE SET task_path = excluded.task_path, run_id = excluded.run_id,"
    " channel = excluded.channel, type = excluded.type, value = excluded.value"
)
_REMEMBER_REPLACED = """
INSERT INTO replaced_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, run_id, channel, type, value)
SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, run_id, channel, type, value FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ? AND idx = ? AND run_id IS NOT ?
"""

_Page = list[CheckpointTuple]
_Ids = list[int]


class GroupCommitSaver(BaseCheckpointSaver[str]):
    """LangGraph's saver interface on a `CheckpointFile`; works on any event loop and from any thread.

    Copies share the file: `with_allowlist` gives one with more types, `fenced` one for a run.
    """

    def __init__(
        self,
        file: CheckpointFile,
        *,
        serde: CheckpointSerializer | None = None,
        fence: Fence | None = None,
        seen: Seen | None = None,
    ) -> None:
        super().__init__(serde=serde or serializer(()))
        self.serde: CheckpointSerializer
        self._file = file
        self._fence = fence
        self._seen = seen

    def fenced(self, fence: Fence) -> Self:
        """A copy whose writes raise `LeaseLost` unless the fence holds when the writer thread comes to them."""
        clone = copy.copy(self)
        clone._fence = fence
        return clone

    def get_next_version(self, current: str | None, channel: None) -> str:
        # Versions of the official saver: a counter and a random part that tells forks apart.
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # --- Writing ---------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        row = self._checkpoint_row(config, checkpoint, metadata)
        await self._file.write(self._guarded(lambda connection: connection.execute(_PUT, row)))
        return place(*row[:3])

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        row = self._checkpoint_row(config, checkpoint, metadata)
        self._file.write_sync(self._guarded(lambda connection: connection.execute(_PUT, row)))
        return place(*row[:3])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._file.write(self._writing(config, writes, task_id, task_path))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._file.write_sync(self._writing(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._file.write(self._guarded(lambda connection: delete_threads(connection, [str(thread_id)])))

    def delete_thread(self, thread_id: str) -> None:
        self._file.write_sync(self._guarded(lambda connection: delete_threads(connection, [str(thread_id)])))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._file.write(self._guarded(lambda connection: delete_runs(connection, self.serde, run_ids)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._file.write_sync(self._guarded(lambda connection: delete_runs(connection, self.serde, run_ids)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._file.write(self._copying(source_thread_id, target_thread_id))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._file.write_sync(self._copying(source_thread_id, target_thread_id))

    def _copying(self, source: str, target: str) -> Work[None]:
        return self._guarded(lambda connection: copy_thread(connection, str(source), str(target)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._file.write(self._pruning(thread_ids, strategy))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._file.write_sync(self._pruning(thread_ids, strategy))

    def _pruning(self, thread_ids: Sequence[str], strategy: str) -> Work[None]:
        return self._guarded(lambda connection: prune(connection, self.serde, list(map(str, thread_ids)), strategy))

    def _guarded(self, work: Work[Any]) -> Work[None]:
        fence = self._fence

        def guarded(connection: sqlite3.Connection) -> None:
            # In the writer thread: what ends the lease and then deletes through the same thread comes after or before
            # this write, never in between.
            if fence is not None and not fence.holds():
                raise LeaseLost(fence)
            work(connection)

        return guarded

    def _checkpoint_row(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[Any, ...]:
        # Packed on the caller's thread, at once: the next step may change the values in place.
        configurable = config["configurable"]
        full = cast(dict[str, Any], get_checkpoint_metadata(config, metadata))
        type_, packed = self.serde.dumps_typed(checkpoint)
        return (
            str(configurable["thread_id"]),
            configurable.get("checkpoint_ns", ""),
            checkpoint["id"],
            configurable.get("checkpoint_id"),
            _run_id(full.get("run_id")),
            type_,
            _json(full),
            packed,
        )

    def _writing(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Work[None]:
        configurable = config["configurable"]
        run_id: Any = self._fence.run_id if self._fence is not None else None
        if run_id is None:
            run_id = (config.get("metadata") or {}).get("run_id") or configurable.get("run_id")
        rows = [
            (
                str(configurable["thread_id"]),
                str(configurable.get("checkpoint_ns", "")),
                str(configurable["checkpoint_id"]),
                task_id,
                WRITES_IDX_MAP.get(channel, index),
                task_path,
                _run_id(run_id),
                channel,
                *self.serde.dumps_channel(channel, value, task_id),
            )
            for index, (channel, value) in enumerate(writes)
        ]
        require_state_size(sum(len(row[-1]) for row in rows))
        # Ordinary writes of a task are the same each time; an error, an interrupt or a resume value replaces the last.
        if not all(channel in WRITES_IDX_MAP for channel, _ in writes):
            return self._guarded(lambda connection: connection.executemany(_KEEP_WRITE, rows))
        places = [(*row[:5], row[6]) for row in rows]

        def replace(connection: sqlite3.Connection) -> None:
            connection.executemany(_REMEMBER_REPLACED, places)
            connection.executemany(_REPLACE_WRITE, rows)

        return self._guarded(replace)

    # --- Reading ---------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._file.read(lambda db: self._tuple(db, config))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._file.read_sync(lambda db: self._tuple(db, config))

    def _tuple(self, connection: sqlite3.Connection, config: RunnableConfig) -> CheckpointTuple | None:
        found = read_tuple(connection, self.serde, config)
        self._note(connection, [found] if found else [])
        return found

    def _note(self, connection: sqlite3.Connection, found: Sequence[CheckpointTuple]) -> None:
        """Note the fingerprints of root checkpoints that were read in the connection's transaction."""
        if self._seen is None:
            return
        places = [one.config["configurable"] for one in found]
        roots = [place for place in places if not place["checkpoint_ns"]]
        if roots:
            only = [place["checkpoint_id"] for place in roots]
            for fingerprint in fingerprints(connection, roots[0]["thread_id"], only=only):
                self._seen.note(fingerprint)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        pages, page = await self._file.read(lambda db: self._first_page(db, config, filter, before, limit))
        while True:
            for found in page:
                yield found
            if not pages:
                return
            page = await self._file.read(partial(self._page, ids=pages.popleft()))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        pages, page = self._file.read_sync(lambda db: self._first_page(db, config, filter, before, limit))
        while True:
            yield from page
            if not pages:
                return
            page = self._file.read_sync(partial(self._page, ids=pages.popleft()))

    def _first_page(self, connection: sqlite3.Connection, *asked: Any) -> tuple[deque[_Ids], _Page]:
        pages, page = read_first_page(connection, self.serde, *asked)
        self._note(connection, page)
        return pages, page

    def _page(self, connection: sqlite3.Connection, ids: Sequence[int]) -> _Page:
        page = read_page(connection, self.serde, ids)
        self._note(connection, page)
        return page

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._file.read(lambda db: self._deltas(db, config, channels))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._file.read_sync(lambda db: self._deltas(db, config, channels))

    def _deltas(
        self, connection: sqlite3.Connection, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        # The walk of LangGraph's own saver, on a reader's connection.
        official = SqliteSaver(connection, serde=self.serde)
        official.is_setup = True
        return official.get_delta_channel_history(config=config, channels=channels)


def _run_id(value: Any) -> str | None:
    return str(value) if value else None


def _json(metadata: Mapping[str, Any]) -> bytes:
    try:
        return keep(orjson.dumps(metadata, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:
        # Lone surrogates and integers beyond 64 bits.
        return json.dumps(metadata, ensure_ascii=False).encode("utf-8", "ignore")
