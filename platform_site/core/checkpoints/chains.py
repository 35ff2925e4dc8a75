"""Which checkpoints others need: a delta channel is rebuilt from the writes that its ancestors hold.

LangGraph's `DeltaChannel` stores a value only now and then; in between its state is the nearest stored value among the
ancestors and the writes on all checkpoints since. Whoever deletes checkpoints has to leave those.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

# How threads may be pruned.
STRATEGIES = ("delete", "keep_latest")

# Namespace and checkpoint id.
Place = tuple[str, str]


class Row(NamedTuple):
    """One checkpoint of a thread, without its values."""

    namespace: str
    checkpoint_id: str
    parent_id: str | None
    # Delta channels that this checkpoint holds no value of.
    deltas: frozenset[str]
    # The root graph's checkpoint that a subgraph was called from.
    root_id: str | None
    run_id: str | None

    @property
    def place(self) -> Place:
        return self.namespace, self.checkpoint_id


def row_of(namespace: str, checkpoint_id: str, parent_id: str | None, metadata: Mapping[str, Any]) -> Row:
    counters = metadata.get("counters_since_delta_snapshot") or {}
    parents = metadata.get("parents") or {}
    return Row(namespace, checkpoint_id, parent_id, frozenset(counters), parents.get(""), metadata.get("run_id"))


# The channels whose value a checkpoint holds, among others.
Stored = Callable[[str, str], Collection[str]]


def needed_by(kept: Iterable[Row], rows: Mapping[Place, Row], stored: Stored) -> set[Place]:
    """The ancestors from which the delta channels of `kept` are rebuilt."""
    needed: set[Place] = set()
    walked: set[tuple[Place, str]] = set()
    for row in kept:
        wanted, parent = set(row.deltas), row.parent_id
        while parent is not None and (ancestor := rows.get((row.namespace, parent))) is not None:
            wanted = {channel for channel in wanted if (ancestor.place, channel) not in walked}
            if not wanted:
                break
            walked.update((ancestor.place, channel) for channel in wanted)
            needed.add(ancestor.place)
            wanted.difference_update(stored(*ancestor.place))
            parent = ancestor.parent_id
    return needed


def known_rows(rows: dict[Place, Row], known: Collection[Place] | None) -> dict[Place, Row]:
    """Those of the rows that are known; None: all are."""
    return rows if known is None else {place: row for place, row in rows.items() if place in known}


def latest_and_needed(rows: Mapping[Place, Row], stored: Stored, *, is_busy: bool = False) -> set[Place]:
    """What `keep_latest` keeps: the newest checkpoint of each namespace, and what those are rebuilt from.

    The namespace of one call of a subgraph goes with the root checkpoint from which it was called. Of a thread that is
    busy also the same as it was before its newest run, which may yet be rolled back.
    """
    kept = _latest_and_needed(rows, stored)
    if is_busy and rows:
        newest_run = max(rows.values(), key=lambda row: row.checkpoint_id).run_id
        kept |= _latest_and_needed({place: row for place, row in rows.items() if row.run_id != newest_run}, stored)
    return kept


def _latest_and_needed(rows: Mapping[Place, Row], stored: Stored) -> set[Place]:
    newest: dict[str, Row] = {}
    for row in rows.values():
        if row.namespace not in newest or row.checkpoint_id > newest[row.namespace].checkpoint_id:
            newest[row.namespace] = row
    heads = {namespace: row for namespace, row in newest.items() if not _is_past_call(row, newest, rows)}
    return {row.place for row in heads.values()} | needed_by(heads.values(), rows, stored)


def _is_past_call(head: Row, newest: Mapping[str, Row], rows: Mapping[Place, Row]) -> bool:
    """Whether `head` belongs to a call of a subgraph that no head is waiting for.

    A call's namespace ends in its task's id. One whose root checkpoint is not there may have been saved before it.
    """
    if ":" not in head.namespace or head.root_id is None or ("", head.root_id) not in rows:
        return False
    return head.root_id != newest[""].checkpoint_id
