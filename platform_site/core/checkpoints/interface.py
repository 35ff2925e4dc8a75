"""Checkpoints of the configured database: savers for runs and for state reads, and what no saver offers.

SQLite keeps them in a file of their own, PostgreSQL in the tables of LangGraph's own saver.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

from platform_site.core.checkpoints.fence import Fence, RunFence
from platform_site.core.checkpoints.storage import Storage

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from platform_site.core.checkpoints.fingerprints import Fingerprint, Seen

# The task under which LangGraph stores what comes from outside: a command, a resume value for no particular task.
NULL_TASK_ID = "00000000-0000-0000-0000-000000000000"
# The place of resume values among the writes of a task (`WRITES_IDX_MAP` of LangGraph).
RESUME_INDEX = -4
# The place of an interrupt.
INTERRUPT_INDEX = -3

# What one transaction deletes at most: others write in between.
PORTION_ROWS = 1000
PORTION_BYTES = 16_000_000
# Checkpoints that are pruned in one transaction, with their writes.
PRUNED_TOGETHER = 100

Allowlist = Collection[tuple[str, ...]]


class Checkpoints(ABC):
    """The process's access to checkpoints. Every method may be called from any event loop.

    An `allowlist` names the types, beyond LangGraph's own, that are rebuilt when a checkpoint is read.
    """

    @abstractmethod
    async def setup(self) -> None:
        """Create or upgrade the tables. Cheap when there is nothing to do; safe in several processes at once."""

    @abstractmethod
    def saver(self, allowlist: Allowlist = (), seen: "Seen | None" = None) -> "BaseCheckpointSaver[str]":
        """A saver for the current event loop, for reading and updating state outside of runs.

        The fingerprints of the root checkpoints that it reads are noted in `seen`.
        """

    @abstractmethod
    def saver_for_run(self, fence: Fence, allowlist: Allowlist = ()) -> "BaseCheckpointSaver[str]":
        """A saver for the current event loop whose every write raises `LeaseLost`, and writes nothing, unless the fence
        holds at that moment."""

    @abstractmethod
    def fingerprints_sync(
        self, thread_id: UUID, *, checkpoint_id: str | None = None, before: str | None = None, limit: int = 1
    ) -> "list[Fingerprint]":
        """Return the fingerprints of checkpoints of the root graph, newest first, as they are at one moment.

        They are those of one checkpoint, of those before one, or of the newest. For a database thread; on PostgreSQL
        on that thread's connection.
        """

    @abstractmethod
    async def has_checkpoint_of_run(self, thread_id: UUID, run_id: UUID, *, of_root: bool = False) -> bool:
        """Whether the run saved a checkpoint on the thread, in any namespace or, `of_root`, of the root graph."""

    @abstractmethod
    async def head(self, thread_id: UUID) -> str | None:
        """The id of the newest checkpoint of the root graph."""

    @abstractmethod
    async def command_writes(self, thread_id: UUID) -> dict[str, str]:
        """What came from outside: every write of the null task and every resume value, in all namespaces.

        `namespace|checkpoint_id|task_id|index|channel` -> a digest of the value.
        """

    @abstractmethod
    async def questions_of_run(self, thread_id: UUID, run_id: UUID) -> set[str]:
        """The tasks of the root graph that asked something in this run, by an interrupt."""

    @abstractmethod
    async def delete_threads(self, thread_ids: Sequence[UUID]) -> None:
        """Delete everything of the threads."""

    @abstractmethod
    def delete_threads_sync(self, thread_ids: Sequence[UUID]) -> None:
        """`delete_threads` for a database thread; on PostgreSQL within that thread's current transaction."""

    @abstractmethod
    def delete_portion_sync(self, thread_ids: Sequence[UUID]) -> bool:
        """Delete a portion of what the threads have, in the way of `delete_threads_sync`.

        Return whether nothing is left. A portion is `PORTION_ROWS` rows, or fewer where they are large.
        """

    @abstractmethod
    async def end_writes(self, fence: RunFence) -> str:
        """See to it that nothing is written any more under a fence that does not hold any more, also by what is under
        way; the name that the lease has from now on."""

    @abstractmethod
    async def delete_run(self, thread_id: UUID, run_id: UUID) -> None:
        """Delete the run's checkpoints in all namespaces with their writes, and the writes the run left on others:
        where these replaced writes of other runs, an interrupt or an error, those are there again.

        Checkpoints that grew on a deleted one hang on its nearest surviving ancestor afterwards. What their delta
        channels are rebuilt from stays.
        """

    @abstractmethod
    async def copy_thread(self, source: UUID, target: UUID) -> None:
        """Copy everything of a thread, as it is at one moment, to one that has nothing."""

    @abstractmethod
    async def keep_latest(self, thread_id: UUID, is_busy: Callable[[], Awaitable[bool]]) -> None:
        """Delete all but the newest checkpoint of each namespace, and what that one is rebuilt from.

        Namespaces of subgraph calls that are over go altogether. `is_busy` is asked after the checkpoints were listed;
        what comes later stays. Where a run is at work, what its rollback would go back to stays as well.
        """

    @abstractmethod
    async def storage(self, thread_id: UUID) -> Storage:
        """What the thread takes up."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and give back all connections that the current loop may close."""


def command_write_digests(rows: Iterable[tuple[str, str, str, int, str, str | None, Any]]) -> dict[str, str]:
    """Rows of namespace, checkpoint, task, index, channel, type and value as `command_writes` answers them."""
    return {
        f"{ns}|{checkpoint_id}|{task_id}|{idx}|{channel}": blake2b(
            (type_ or "").encode() + b"\0" + bytes(value or b""), digest_size=8
        ).hexdigest()
        for ns, checkpoint_id, task_id, idx, channel, type_, value in rows
    }


def adopted(doomed: dict[tuple[str, str], str | None], namespace: str, parent: str | None) -> str | None:
    """The nearest ancestor that is not doomed. `doomed` maps (namespace, checkpoint) to its parent."""
    seen: set[str] = set()
    while parent is not None and (namespace, parent) in doomed and parent not in seen:
        seen.add(parent)
        parent = doomed[(namespace, parent)]
    return None if parent is None or (namespace, parent) in doomed else parent
