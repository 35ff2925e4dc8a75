"""CPU time and memory of a server, read from /proc: the process that listens and everything it started."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
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
    rss: float
    pss: float


def memory(root: int) -> Memory:
    """Megabytes (10^6 bytes) of the tree: resident, and proportional (shared pages counted once)."""
    rss = pss = 0
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
        rss += values.get("Rss", 0) * 1024
        pss += values.get("Pss", 0) * 1024
    return Memory(rss / _MEGABYTE, pss / _MEGABYTE)


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
