"""CPU time and memory of a server, read from /proc: the process that listens and everything it started."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1_000_000


def _stat(pid: int) -> list[str]:
    # The command name in brackets may hold spaces, the fields after it do not.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_seconds(root: int) -> float:
    """User and system time that the tree has used so far."""
    ticks = 0
    for pid in tree(root):
        try:
            fields = _stat(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


@dataclass(frozen=True)
class Memory:
    """Megabytes (10^6 bytes): resident, and proportional (shared pages counted once)."""

    rss: float
    pss: float


def memory(root: int) -> Memory:
    """Return the memory of the tree."""
    parts = [memory_of(pid) for pid in tree(root)]
    return Memory(sum(part.rss for part in parts), sum(part.pss for part in parts))


def memory_of(pid: int) -> Memory:
    """Return the memory of one process; nothing if it is gone or cannot be seen."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return Memory(0, 0)
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return Memory(values.get("Rss", 0) * 1024 / _MEGABYTE, values.get("Pss", 0) * 1024 / _MEGABYTE)


def resident(root: int) -> float:
    """Return the megabytes that the tree has. Of several processes, pages that they share count once (PSS)."""
    whole, several = memory(root), len(tree(root)) > 1
    return whole.pss if several else whole.rss


def forget_peaks(root: int) -> bool:
    """Begin to measure the peak of one process anew. Return False for several, or if the system does not allow it."""
    if len(tree(root)) > 1:
        # Peaks of processes are not of the same moment.
        return False
    try:
        # Resets VmHWM, see proc(5).
        Path(f"/proc/{root}/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak(root: int) -> float:
    """Return the most megabytes that the process has had since `forget_peaks`."""
    for line in Path(f"/proc/{root}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / _MEGABYTE
    raise ValueError(f"/proc/{root}/status has no VmHWM")


@dataclass(frozen=True)
class Use:
    """What one process has at a moment. Memory in megabytes (10^6 bytes)."""

    rss: float
    # The part of it that is no page of a file: a database file that is mapped into memory counts for RSS only.
    anonymous: float
    files: int
    threads: int
    cpu_seconds: float


def use(pid: int) -> Use | None:
    """Return what the process has, None if it is gone."""
    try:
        fields = _stat(pid)
        files = len(os.listdir(f"/proc/{pid}/fd"))
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The fields after the command's name: 11 and 12 are user and system time, 17 threads, 21 resident pages.
    cpu = (int(fields[11]) + int(fields[12])) / _TICK
    anonymous = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return Use(
        int(fields[21]) * _PAGE / _MEGABYTE,
        int(anonymous[1]) * 1024 / _MEGABYTE if anonymous else 0.0,
        files,
        int(fields[17]),
        cpu,
    )


def words(pid: int) -> list[str]:
    """Return the command line of the process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def listener(port: int) -> int | None:
    """The process that listens on this local TCP port, if it can be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        try:
            for descriptor in Path(f"/proc/{entry}/fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return int(entry)
        except OSError:
            continue
    return None
