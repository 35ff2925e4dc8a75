"""What the spies saw: kept in memory by the process of the tests, in files by the servers that it starts."""

import os
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Names the directory for the files of a started server.
VARIABLE = "SWITCHYARD_TEST_VIOLATIONS"
PRODUCT = tuple(f"{ROOT}/{name}/" for name in ("platform_site", "threads", "assistants", "runs", "crons", "store"))
# What hands statements on without knowing them.
CARRIERS = tuple(
    f"{ROOT}/platform_site/core/{name}.py"
    for name in ("database/access", "database/group_writer", "database/postgres_pool", "checkpoints/sqlite/file")
)

_seen: list[str] = []
_lock = threading.Lock()


def told_by() -> list[str]:
    """The product's functions that are at work, innermost first: `runs/services.py:run_create`."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PRODUCT) and file not in CARRIERS:
            found.append(f"{file[len(str(ROOT)) + 1 :]}:{frame.f_code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    return found


def report(text: str) -> None:
    """Note a violation; the test that is running fails."""
    directory = os.environ.get(VARIABLE)
    line = " ".join(text.split())
    with _lock:
        if directory is None:
            _seen.append(line)
        else:
            with (Path(directory) / f"{os.getpid()}.txt").open("a") as file:
                file.write(line + "\n")


class Reports:
    """What was reported since it was asked last, here and by the servers that write into `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._read: dict[Path, int] = {}

    def new(self) -> list[str]:
        with _lock:
            found, _seen[:] = _seen[:], []
        for path in self.directory.iterdir():
            with path.open() as file:
                file.seek(self._read.get(path, 0))
                found += [f"{line.rstrip()} (process {path.stem})" for line in file]
                self._read[path] = file.tell()
        return list(dict.fromkeys(found))
