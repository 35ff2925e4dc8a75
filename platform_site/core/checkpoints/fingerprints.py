"""Fingerprints of stored checkpoints: they tell whether what was read of a checkpoint once is still what is stored.

A fingerprint changes with everything that a state is made of: the checkpoint's row, the parent that it hangs on, and
its pending writes. Taking one reads neither the values of the checkpoint nor large values of its writes.
"""

from typing import NamedTuple


class Fingerprint(NamedTuple):
    """A checkpoint of a thread's root graph, and a text that no other content of it has."""

    checkpoint_id: str
    content: bytes


class Seen:
    """What a saver notes while it reads: the fingerprint of each checkpoint, taken in the same snapshot."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes | None] = {}

    def note(self, fingerprint: Fingerprint) -> None:
        """Remember the fingerprint. A checkpoint that changed between two reads has none."""
        known = self._contents.setdefault(fingerprint.checkpoint_id, fingerprint.content)
        if known != fingerprint.content:
            self._contents[fingerprint.checkpoint_id] = None

    def of(self, checkpoint_id: str) -> Fingerprint | None:
        """Return the fingerprint of a checkpoint that was read, or None if there is not exactly one."""
        content = self._contents.get(checkpoint_id)
        return None if content is None else Fingerprint(checkpoint_id, content)
