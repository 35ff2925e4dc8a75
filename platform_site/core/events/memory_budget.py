"""The bytes that all event logs of a process hold together, and how much of which log goes when they are too many."""

from collections.abc import Iterable

from platform_site.core.events.memory_log import Log

# An open log tells the budget of its growth each time that it has grown by this much, or by this part of the budget.
_GRANULE_BYTES = 8_192
_GRANULES = 64
# A cut frees this part of the budget: cuts are rare, and none of them takes longer than a millisecond or two.
_CUT_PARTS = 32
# Finished logs may hold this part of the budget: they are for those who come late, and the rest is for runs in work.
_FINISHED_PARTS = 2
# Memory is given back to the system once this much, or this part of the budget, was freed.
_MUCH_BYTES = 16_000_000
_MUCH_PARTS = 8


class Budget:
    """The account of a process's event logs. Whoever calls a method holds the lock of all logs.

    A log is counted when it is made, when it has grown by a granule and when it ends, so most appends do not come here.
    """

    def __init__(self, size: int) -> None:
        self.bytes = size
        self.held = 0
        self.granule = min(_GRANULE_BYTES, max(size // _GRANULES, 1))
        # Above this the logs are cut. More than the budget only where a cut could not free enough.
        self.limit = size
        # What finished logs hold of it, and above what some of them are given up.
        self.finished = 0
        self._most_finished = self.finished_limit = size // _FINISHED_PARTS
        self._freed = 0

    def count(self, log: Log) -> None:
        """Take note of what the log holds now; the caller holds its lock, too."""
        if log.counted_as_finished:
            self.finished -= log.counted
        self._move(log.weight - log.counted)
        log.counted, log.counted_as_finished = log.weight, log.closed
        if log.closed:
            self.finished += log.counted

    def release(self, log: Log) -> None:
        """Take note that nobody holds the log any more."""
        if log.counted_as_finished:
            self.finished -= log.counted
        self._move(-log.counted)
        log.counted, log.counted_as_finished = 0, False

    def _move(self, change: int) -> None:
        self.held += change
        if change < 0:
            self._freed -= change

    @property
    def target(self) -> int:
        """What a cut leaves."""
        return self.bytes - self.bytes // _CUT_PARTS

    @property
    def finished_target(self) -> int:
        """What a cut leaves of finished logs."""
        return self._most_finished - self._most_finished // _CUT_PARTS

    def was_cut(self) -> None:
        """Cut again when there is something to cut: not for each append where what must stay exceeds the budget."""
        margin = self.bytes // (2 * _CUT_PARTS)
        self.limit = max(self.bytes, self.held + margin)
        self.finished_limit = max(self._most_finished, self.finished + margin)

    @property
    def is_strained(self) -> bool:
        """Return whether a cut could not free enough, because readers held what was to go."""
        return self.limit > self.bytes or self.finished_limit > self._most_finished

    def has_freed_much(self) -> bool:
        """Return whether much was freed since the last time that the answer was yes."""
        if self._freed < min(_MUCH_BYTES, self.bytes // _MUCH_PARTS):
            return False
        self._freed = 0
        return True


def cut_level(sizes: Iterable[int], excess: int) -> int:
    """Return the size to which all larger logs are cut, so that `excess` bytes go: the largest logs give first."""
    descending = sorted(sizes, reverse=True)
    above = 0
    for count, size in enumerate(descending, 1):
        above += size
        following = descending[count] if count < len(descending) else 0
        # With the `count` largest at the level of the next one, this much is gone.
        if above - count * following >= excess:
            return max((above - excess) // count, 0)
    return 0
