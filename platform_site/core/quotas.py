"""How much a workspace may have of something, without a count for every new one."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from platform_site.core.errors import InsufficientStorage, TooLarge
from platform_site.core.wire import encode

# How long a count is believed, and how long the free space of a disk is.
BELIEVED_SECONDS = 1.0
_MEGABYTE = 1_000_000


class Quota:
    """Tells whether a workspace may have one more.

    It counts at most once a second and adds what this process has made since; near the limit it counts every time. So
    other processes may overshoot the limit by what they make in a second.
    """

    def __init__(self, count: Callable[[int, int], int], clock: Callable[[], float] = time.monotonic) -> None:
        """`count` is given a workspace and the limit, beyond which it need not count."""
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        # Workspace to the moment of its count and what it has, as far as this process knows.
        self._known: dict[int, tuple[float, int]] = {}

    def take(self, workspace_id: int, limit: int) -> bool:
        """Return whether there is room for one more, and count it as made. A limit of 0 is none."""
        if not limit:
            return True
        now = self._clock()
        with self._lock:
            counted_at, total = self._known.get(workspace_id, (now - 2 * BELIEVED_SECONDS, 0))
        if now - counted_at > BELIEVED_SECONDS or total >= limit:
            counted_at, total = now, self._count(workspace_id, limit)
        if total >= limit:
            return False
        with self._lock:
            self._known[workspace_id] = counted_at, total + 1
        return True


class FreeDisk:
    """The free space of the disk that a directory is on, asked at most once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: tuple[float, int] | None = None

    def require(self, directory: Path, least_bytes: int) -> None:
        """Raise `InsufficientStorage` if less than `least_bytes` are free. A limit of 0 is none."""
        if not least_bytes:
            return
        now = self._clock()
        if self._known is None or now - self._known[0] > BELIEVED_SECONDS:
            self._known = now, shutil.disk_usage(directory).free
        if (free := self._known[1]) < least_bytes:
            raise InsufficientStorage(
                f"The server's disk is nearly full: {free // _MEGABYTE} MB are free, and nothing new is accepted below "
                f"{least_bytes // _MEGABYTE} MB (MIN_FREE_DISK_BYTES)"
            )


_data_disk = FreeDisk()


def require_free_disk() -> None:
    """Raise `InsufficientStorage` if the disk of the SQLite files is nearly full. PostgreSQL looks after its own."""
    if not settings.DATABASE_URL:
        _data_disk.require(settings.DATA_DIR, settings.MIN_FREE_DISK_BYTES)


def require_kept_size(name: str, value: Any) -> None:
    """Raise `TooLarge` for a value to which requests have added more than one of them could bring."""
    size, limit = len(encode(value)), settings.MAX_BODY_BYTES
    if size > limit:
        raise TooLarge(f"{name} would have {size} bytes together, and may have {limit} (MAX_BODY_BYTES)")
