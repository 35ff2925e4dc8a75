"""The data directory: made for its owner alone, and used by one server at a time.

SQLite files are safe only while one process runs the engine on them: it holds the leases of its runs in memory. With
PostgreSQL the leases are in the database and any number of servers may share it; then there is nothing to lock.
"""

import fcntl
import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

# What the server keeps in the directory. SQLite writes `-wal`, `-shm` and `-journal` beside a database.
_PRIVATE = ("*.sqlite3", "*.sqlite3-wal", "*.sqlite3-shm", "*.sqlite3-journal", "secret_key", "lock")
# Bits that let others than the owner in. The group may pass through: `serve --scaled` started by root needs it.
_OPEN = stat.S_IRGRP | stat.S_IWGRP | stat.S_IRWXO


def keep_private() -> None:
    """Have every file and directory that this process and its children make readable by their owner only."""
    os.umask(0o077)


def tighten(directory: Path) -> None:
    """Take the files of the directory away from everybody but their owner, and warn if others can reach into it."""
    for pattern in _PRIVATE:
        for file in directory.glob(pattern):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & 0o077:
                file.chmod(mode & 0o700)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & _OPEN:
        logger.warning(
            "the data directory is open to others (mode %03o). Its files are for their owner only, but close it: "
            "chmod 700 %s",
            mode,
            directory,
        )


class DataDirectoryInUse(Exception):
    """Another process serves from this data directory; the message names it."""


# The open lock file. The lock ends with the process that holds it, however it ends.
_held: int | None = None


def make(directory: Path) -> None:
    """Create the directory, readable by its owner only, and keep it out of git. One that exists stays as it is.

    It may be in the folder of a project: a commit of everything must not take the secret key along.
    """
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not directory.is_dir():
            raise
    else:
        (directory / ".gitignore").write_text("*\n")


def lock(directory: Path, address: str) -> None:
    """Keep other servers off the directory for the life of this process; `address` is what they tell their user.

    Raises DataDirectoryInUse if another process has it. Locking again in the same process changes nothing.
    """
    global _held
    if _held is None:
        # The kernel drops the lock when the last descriptor closes: it must not live on in children.
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "an unknown process"
            os.close(descriptor)
            raise DataDirectoryInUse(
                f"{directory} is in use by another Switchyard server: {holder}. "
                "Stop that one, or give this one a directory of its own: DATA_DIR=.switchyard-2 make serve, "
                "or manage.py serve --data-dir .switchyard-2"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} at {address}\n".encode(), 0)
        _held = descriptor
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """A forked child shares the descriptor, and with it the lock, unless it closes its copy."""
    global _held
    if _held is not None:
        os.close(_held)
        _held = None
