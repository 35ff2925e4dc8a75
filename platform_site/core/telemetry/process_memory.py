"""The memory of this process: how much it may have, how much it has, and giving back what it no longer needs."""

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

# Version 2 and version 1. A group without a limit holds a word, or a number far beyond any machine's memory.
_FILES = ("memory.max", "memory.limit_in_bytes")


def memory_limit(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use: the machine's, or less if a control group says so.

    Both versions of Linux's control groups are understood (kernel documentation, admin-guide/cgroup-v1 and cgroup-v2).
    `root` is the root of the file system.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for file in _limit_files(root) if (limit := _number_in(file)) is not None)])


def _limit_files(root: Path) -> list[Path]:
    """Return the files that may hold a limit: those of this process's groups and of all groups above them."""
    mounted = root / "sys/fs/cgroup"
    groups = [mounted, mounted / "memory"]
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        group = mounted / "memory" if controllers else mounted
        # A process in a container may be told the path that the group has outside; then the file is not there.
        for part in Path(path.lstrip("/")).parts:
            group = group / part
            groups.append(group)
    return [group / name for group in groups for name in _FILES]


def _number_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def resident_bytes() -> int | None:
    """Return the bytes of memory that this process has now (RSS), or None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library keeps it (glibc). Takes milliseconds."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
