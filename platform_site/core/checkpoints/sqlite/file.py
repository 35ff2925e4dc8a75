"""One SQLite file of checkpoints: a writer thread that commits in groups, and reader threads that never wait for it."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from platform_site.core.checkpoints.fence import LeaseLost

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

# The columns of LangGraph's SqliteSaver, so that it can read the file, and `run_id`: who wrote the row. The large
# columns come last: what stands behind a large value is read through all of its pages.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoints (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    run_id TEXT,
    type TEXT,
    metadata BLOB,
    checkpoint BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);
CREATE TABLE IF NOT EXISTS writes (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    task_path TEXT NOT NULL DEFAULT '',
    run_id TEXT,
    channel TEXT NOT NULL,
    type TEXT,
    value BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);
CREATE INDEX IF NOT EXISTS checkpoints_of_run ON checkpoints (run_id) WHERE run_id IS NOT NULL;
-- What a run replaced in `writes`, as it was: deleting the run brings it back.
CREATE TABLE IF NOT EXISTS replaced_writes (
    sequence INTEGER PRIMARY KEY,
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    task_path TEXT NOT NULL,
    run_id TEXT,
    channel TEXT NOT NULL,
    type TEXT,
    value BLOB
);
CREATE INDEX IF NOT EXISTS replaced_writes_of_thread ON replaced_writes (thread_id);
"""
_SCHEMA_VERSION = 2
# Most jobs in one transaction: bounds how long the first of them waits for the last.
_GROUP = 256


class _Job(NamedTuple):
    work: Work[Any]
    future: "asyncio.Future[Any] | Future[Any]"
    # The loop of an asyncio future; None for a caller that blocks.
    loop: asyncio.AbstractEventLoop | None


_Outcome = tuple[_Job, Any, Exception | None]


class CheckpointFile:
    """The file and its threads, opened on first use.

    A write returns after its COMMIT. Jobs that are queued together share a transaction; one that raises fails alone and
    leaves nothing behind. Reads see one state of the file from their first to their last statement.
    """

    def __init__(self, path: Path, *, readers: int = 2) -> None:
        self._path = path
        self._reader_count = readers
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._slow_reader: ThreadPoolExecutor | None = None
        self._reader_connections: list[sqlite3.Connection] = []
        # Connections of `read_here` that nobody uses at the moment.
        self._idle: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._closed = False

    def open(self) -> None:
        """Create the file and its tables if they are not there, and start the threads. May be called again."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._path} has been closed")
            if self._writer is not None:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect()
            if connection.execute("PRAGMA user_version").fetchone()[0] < _SCHEMA_VERSION:
                connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={_SCHEMA_VERSION};COMMIT;")
            self._readers = ThreadPoolExecutor(self._reader_count, thread_name_prefix="checkpoint-read")
            self._slow_reader = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-read-slow")
            self._writer = threading.Thread(
                target=self._write_all, args=(connection,), name="checkpoint-write", daemon=True
            )
            self._writer.start()

    def close(self) -> None:
        """Write what is queued, then close. Later calls of anything but `close` raise RuntimeError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
            idle, self._idle = self._idle, []
        if self._writer is not None:
            self._writer.join()
        for readers in (self._readers, self._slow_reader):
            if readers is not None:
                readers.shutdown(wait=True)
        for connection in [*self._reader_connections, *idle]:
            connection.close()

    async def write(self, work: Work[T]) -> T:
        """Run `work` in the writer's transaction; its result, once committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._submit(_Job(work, future, loop))
        return await future

    def write_sync(self, work: Work[T]) -> T:
        """Do what `write` does, for a caller that may block."""
        future: Future[T] = Future()
        self._submit(_Job(work, future, None))
        return future.result()

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a reader thread, unpacking included."""
        return await asyncio.wrap_future(self._read_pool().submit(self._read, work))

    async def read_slowly(self, work: Work[T]) -> T:
        """Do what `read` does, for what takes longer the more a thread holds: one at a time, apart from runs."""
        self._read_pool()
        assert self._slow_reader is not None
        return await asyncio.wrap_future(self._slow_reader.submit(self._read, work))

    def read_sync(self, work: Work[T]) -> T:
        """Do what `read` does, for a caller that may block."""
        return self._read_pool().submit(self._read, work).result()

    def read_here(self, work: Work[T]) -> T:
        """Do what `read` does on the calling thread, for short work beside other reads of the same call."""
        connection = self._borrowed()
        try:
            return _in_snapshot(connection, work)
        finally:
            self._give_back(connection)

    def _borrowed(self) -> sqlite3.Connection:
        if self._writer is None:
            self.open()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._path} has been closed")
            if self._idle:
                return self._idle.pop()
        connection = self._reading_connection()
        # There may be one for each thread of the caller's pool.
        connection.execute("PRAGMA cache_size=-2000")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _submit(self, job: _Job) -> None:
        if self._writer is None:
            self.open()
        # Nothing may be queued behind the end mark: nobody would ever answer it.
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._path} has been closed")
            self._queue.put(job)

    def _read_pool(self) -> ThreadPoolExecutor:
        if self._readers is None:
            self.open()
        assert self._readers is not None
        return self._readers

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=20, isolation_level=None, check_same_thread=False)
        connection.executescript(
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA mmap_size=134217728;PRAGMA cache_size=-20000;"
        )
        return connection

    def _reading_connection(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _read(self, work: Work[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._reading_connection()
            self._reader_connections.append(connection)
        return _in_snapshot(connection, work)

    def _write_all(self, connection: sqlite3.Connection) -> None:
        while True:
            jobs = [self._queue.get()]
            try:
                while len(jobs) < _GROUP:
                    jobs.append(self._queue.get_nowait())
            except Empty:
                pass
            if real := [job for job in jobs if job is not None]:
                _deliver(_run(connection, real))
            # The end mark is always the last.
            if jobs[-1] is None:
                connection.close()
                return
            # Do not keep states alive while waiting.
            del jobs, real


def _in_snapshot(connection: sqlite3.Connection, work: Work[T]) -> T:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        connection.execute("ROLLBACK")


def _run(connection: sqlite3.Connection, jobs: Sequence[_Job]) -> list[_Outcome]:
    """Run the jobs in one transaction, or each in its own if one of them fails."""
    outcomes: list[_Outcome] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            try:
                outcomes.append((job, job.work(connection), None))
            except LeaseLost as refused:
                # Raised before the job wrote anything.
                outcomes.append((job, None, refused))
            except Exception as error:
                _roll_back(connection)
                if len(jobs) == 1:
                    return [(job, None, error)]
                return [outcome for job in jobs for outcome in _run(connection, [job])]
        connection.execute("COMMIT")
    except Exception as error:
        # The file itself refused: that concerns every job, and trying again would only take longer.
        _roll_back(connection)
        return [(job, None, error) for job in jobs]
    return outcomes


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite has rolled back by itself after some errors, such as a full disk.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _deliver(outcomes: list[_Outcome]) -> None:
    """Resolve the futures, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].loop, []).append(outcome)
    for loop, group in by_loop.items():
        if loop is None:
            _resolve(group)
            continue
        # A closed loop refuses: nobody waits there any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, group)


def _resolve(outcomes: list[_Outcome]) -> None:
    for job, result, error in outcomes:
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
