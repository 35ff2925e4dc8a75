"""States as the API shows them, encoded. What is still stored as it was when it was read last is not read again.

One call of the database finds the thread and the fingerprints of what is asked for, and then the states in the cache. A
state is kept under everything that its text depends on: the thread, the graph object that reads it, the request's
`select`, and the fingerprint that was taken in the snapshot of the read. Nothing has to be removed from the cache when
something changes: its fingerprint is another then.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.fingerprints import Fingerprint
from platform_site.core.database.access import encode_shown, read_db
from platform_site.core.graphs.registry import registry
from platform_site.core.http.paging import Answer
from platform_site.core.ids import parse_uuid
from platform_site.core.loops import state_loop
from threads.read_notes import ReadNotes
from threads.schemas import CheckpointRef
from threads.selectors import ThreadForState, require_same, thread_for_state
from threads.state import graph_of, require_graph, state_history, state_read, state_wire, states_of
from threads.state_cache import key_of, state_cache

# Checkpoints of a history that are looked up, and read, together.
PAGE = 50


def selected(state: dict[str, Any], select: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a state that `select` names; `values.<key>` keeps that key of the values only."""
    if not select:
        return state
    picked = {name: state[name] for name in select if name in state}
    keys = {name.removeprefix("values.") for name in select if name.startswith("values.")}
    if keys and "values" not in picked and isinstance(state["values"], dict):
        picked["values"] = {key: value for key, value in state["values"].items() if key in keys}
    return picked


class _Keys:
    """Makes the keys of a thread's states in the cache, for one form of showing them."""

    def __init__(self, thread: ThreadForState, identity: int, select: Iterable[str], *, is_live: bool) -> None:
        # An id may be given to another thread, of another workspace, once the thread is deleted.
        owner = (thread.workspace_id, thread.thread_id.hex, thread.created_at.isoformat())
        self._parts = (identity, *owner, tuple(select), is_live)

    def of(self, fingerprint: Fingerprint) -> bytes:
        return key_of(*self._parts, *fingerprint)


def _identity(thread: ThreadForState, ref: CheckpointRef | None) -> int | None:
    """Return the number of the graph that reads the thread, or None where states are read anew each time.

    That is the case in subgraphs, whose states hang on those of other checkpoints.
    """
    if thread.graph_id is None or (ref is not None and (ref.checkpoint_ns or ref.checkpoint_map)):
        return None
    return registry().identity(thread.graph_id) if state_cache().budget_bytes else None


# --- One state -----------------------------------------------------------------------------------


async def state_shown(
    principal: Principal, thread_id: UUID, ref: CheckpointRef | None, *, subgraphs: bool, select: Iterable[str] | None
) -> bytes:
    """Return the state at a checkpoint, or the newest one, as JSON.

    Raises `NotFound` for a thread that is not the principal's, and `BadRequest` for a state that its graph refuses.
    """
    select = tuple(select or ())
    thread, keys, state = await read_db(_kept_state, principal, thread_id, ref, select, subgraphs)
    if state is not None:
        return state
    notes = ReadNotes()
    read = await state_loop().run(state_read(thread, ref, subgraphs=subgraphs, notes=notes))
    await read_db(require_same, thread)
    shown = encode_shown(selected(read, select))
    if keys is not None and (fingerprint := notes.fingerprint(read["checkpoint_id"])):
        state_cache().put(keys.of(fingerprint), shown)
    return shown


def _kept_state(
    principal: Principal, thread_id: UUID, ref: CheckpointRef | None, select: tuple[str, ...], subgraphs: bool
) -> tuple[ThreadForState, _Keys | None, bytes | None]:
    """Return the thread, the keys under which its states are kept, and the state that is asked for if it is kept."""
    thread = thread_for_state(principal, thread_id)
    identity = None if subgraphs else _identity(thread, ref)
    if identity is None:
        return thread, None, None
    checkpoint_id = (ref and ref.checkpoint_id) or None
    keys = _Keys(thread, identity, select, is_live=checkpoint_id is None)
    found = checkpoints().fingerprints_sync(thread_id, checkpoint_id=checkpoint_id)
    return thread, keys, state_cache().get(keys.of(found[0])) if found else None


# --- A history -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class HistoryAsked:
    """Which states of a history are asked for, and what of them."""

    limit: int
    before: str | None = None
    ref: CheckpointRef | None = None
    metadata: dict[str, Any] | None = None
    select: tuple[str, ...] = ()


class _Kept(NamedTuple):
    """A checkpoint of the history, and its state if that is kept."""

    fingerprint: Fingerprint
    state: bytes | None


async def history_shown(principal: Principal, thread_id: UUID, asked: HistoryAsked) -> bytes:
    """Return past states from the newest to older ones, as a JSON list that ends early at `MAX_ANSWER_BYTES`.

    Raises as `state_shown` and `state_history` do.
    """
    thread, history, page = await read_db(_begun, principal, thread_id, asked)
    if history is not None:
        return await history.body(page)
    states = await state_loop().run(
        state_history(
            thread,
            asked.ref,
            limit=asked.limit,
            before=asked.before,
            metadata=asked.metadata,
            shown=lambda state: selected(state, asked.select),
        )
    )
    await read_db(require_same, thread)
    return b"[%b]" % b",".join(states)


def _begun(
    principal: Principal, thread_id: UUID, asked: HistoryAsked
) -> tuple[ThreadForState, "_KeptHistory | None", list[_Kept]]:
    """Return the thread, and its history with the first page, or None where states are read anew each time."""
    thread = thread_for_state(principal, thread_id)
    # What a filter leaves out is known only once it was read.
    identity = None if asked.metadata or asked.limit <= 0 else _identity(thread, asked.ref)
    if identity is None:
        return thread, None, []
    history = _KeptHistory(thread, _Keys(thread, identity, asked.select, is_live=False), asked)
    # Before what is no id there is everything.
    return thread, history, history.page(asked.before if parse_uuid(asked.before or "") else None)


class _KeptHistory:
    """One history while it is read, page by page, some of its states from the cache."""

    def __init__(self, thread: ThreadForState, keys: _Keys, asked: HistoryAsked) -> None:
        self._thread = thread
        self._keys = keys
        self._asked = asked
        self._answer = Answer()
        # What is kept once it is known that it is this thread's.
        self._new: list[tuple[bytes, bytes]] = []

    async def body(self, page: list[_Kept]) -> bytes:
        """Return the whole history, of which this is the first page."""
        was_read = False
        while page:
            if any(one.state is None for one in page):
                was_read = True
                await state_loop().run(self._read(page))
            else:
                self._add(one.state for one in page)
            if self._is_over or len(page) < PAGE:
                break
            page = await read_db(self.page, page[-1].fingerprint.checkpoint_id)
        if was_read:
            await read_db(require_same, self._thread)
            for key, state in self._new:
                state_cache().put(key, state)
        return self._answer.body

    def page(self, before: str | None) -> list[_Kept]:
        """Return the next checkpoints. For a database thread."""
        found = checkpoints().fingerprints_sync(
            self._thread.thread_id,
            checkpoint_id=(self._asked.ref and self._asked.ref.checkpoint_id) or None,
            before=before,
            limit=min(PAGE, self._left),
        )
        return [_Kept(one, state_cache().get(self._keys.of(one))) for one in found]

    @property
    def _left(self) -> int:
        return self._asked.limit - len(self._answer.parts)

    @property
    def _is_over(self) -> bool:
        return self._left <= 0 or self._answer.is_full

    def _add(self, states: Iterable[bytes | None]) -> None:
        for state in states:
            if state is None or self._is_over:
                return
            self._answer.add(state)

    async def _read(self, page: list[_Kept]) -> None:
        """Add the states of the page, on the state loop. Those that follow each other and are not kept are read."""
        notes = ReadNotes()
        async with graph_of(self._thread, require_graph(self._thread), notes=notes) as graph:
            for is_kept, group in groupby(page, lambda one: one.state is not None):
                span = list(group)
                if is_kept:
                    self._add(one.state for one in span)
                    continue
                ids = [one.fingerprint.checkpoint_id for one in span]
                is_later = bool(self._answer.parts)
                async for snapshot in states_of(graph, self._thread.thread_id, ids, is_later=is_later, notes=notes):
                    if self._is_over:
                        return
                    read = state_wire(snapshot)
                    shown = encode_shown(selected(read, self._asked.select))
                    self._answer.add(shown)
                    if fingerprint := notes.fingerprint(read["checkpoint_id"]):
                        self._new.append((self._keys.of(fingerprint), shown))
