"""Servers under measurement: one that this program starts and stops, or one that runs already."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from . import processes
from .client import Address, Connection

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class ServerFailed(Exception):
    """The server did not start or went away."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """Return ports that follow each other and are free."""
    while count:
        first = free_port()
        try:
            with contextlib.ExitStack() as stack:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return list(range(first, first + count))
    return []


@dataclass
class Server:
    """A server that answers; `pid` is the root of its process tree where that is known."""

    name: str
    address: Address
    pid: int | None
    process: "subprocess.Popen[bytes] | None" = None
    # What was prepared on it, by the name of what it is: rows share seeded threads.
    prepared: dict[str, object] = field(default_factory=dict)
    # Ports on which its workers serve /metrics.
    metrics_ports: tuple[int, ...] = ()
    # What it prints, if this program has started it.
    log: Path | None = None

    @classmethod
    def running(cls, name: str, address: Address) -> "Server":
        local = address.host in ("127.0.0.1", "localhost", "::1")
        return cls(name, address, processes.listener(address.port) if local else None)

    def cpu_seconds(self) -> float | None:
        return None if self.pid is None else processes.cpu_seconds(self.pid)

    def stop(self) -> None:
        """Ends the process tree that `Command.start` made; a server that ran already goes on running."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            # What is left of the session that was made for it.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True)
class Command:
    """How to start a server: a command line in which {port}, {config} and {data} are filled in."""

    name: str
    words: tuple[str, ...]
    directory: Path
    headers: tuple[tuple[str, str], ...] = ()
    # Variables that it gets beside those of this program.
    environment: Mapping[str, str] = field(default_factory=dict)
    # In scale mode, how many workers there are.
    workers: int = 0

    @classmethod
    def ours(
        cls, directory: Path, config: bool = True, workers: int = 0, environment: Mapping[str, str] | None = None
    ) -> "Command":
        """This project's server: one process, or with `workers` the whole stack of scale mode."""
        words = [sys.executable, str(ROOT / "manage.py"), "serve", "--host", "127.0.0.1", "--port", "{port}"]
        words += ["--data-dir", "{data}", *(["--config", "{config}"] if config else [])]
        words += ["--scaled", "--workers", str(workers)] if workers else []
        return cls("ours", tuple(words), directory, environment=environment or {}, workers=workers)

    @classmethod
    def parse(cls, name: str, line: str, directory: Path, headers: Sequence[tuple[str, str]]) -> "Command":
        return cls(name, tuple(shlex.split(line)), directory, tuple(headers))

    async def start(self, timeout: float = 90) -> tuple[Server, float]:
        """Starts the server and gives it with the seconds from the start to its first 200 on /ok."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        for directory in (self.directory, *self.directory.parents[:2]):
            # PostgreSQL is another user where we are root.
            directory.chmod(0o755)
        # A copy of the graphs in the working directory: some servers look for graph files from there.
        for name in ("langgraph.json", "graphs.py"):
            shutil.copy(HERE / name, self.directory)
        config, port = self.directory / "langgraph.json", free_port()
        values = {"{port}": str(port), "{config}": str(config), "{data}": str(data)}
        words = list(self.words)
        for name, value in values.items():
            words = [word.replace(name, value) for word in words]
        ports = free_ports(self.workers)
        told = {"WORKER_METRICS_PORT": str(ports[0])} if ports else {}
        log = self.directory / "server.log"
        began = perf_counter()
        with log.open("ab") as output:
            process = subprocess.Popen(
                words,
                cwd=self.directory,
                env={**os.environ, **self.environment, **told},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Server(
            self.name,
            Address("127.0.0.1", port, self.headers),
            process.pid,
            process,
            log=log,
            metrics_ports=tuple(ports),
        )
        try:
            await answering(server.address, "/ok", process, began + timeout)
            took = perf_counter() - began
            for port in ports:
                await answering(Address("127.0.0.1", port), "/metrics", process, began + timeout)
        except NoAnswer as exc:
            server.stop()
            tail = log.read_text(errors="replace")[-1500:]
            raise ServerFailed(f"{shlex.join(words)} {exc}; the end of its output:\n{tail}") from None
        except BaseException:
            server.stop()
            raise
        return server, took


class NoAnswer(Exception):
    """A process ended, or took too long, before it answered."""


async def answering(address: Address, path: str, process: "subprocess.Popen[bytes]", end: float) -> None:
    """Wait until `path` is answered with 200. Raise `NoAnswer` if the process ends first or `end` comes."""
    while not await answers(address, path):
        if process.poll() is not None or perf_counter() > end:
            raise NoAnswer(f"did not answer on {path} at port {address.port}")
        await asyncio.sleep(0.005)


async def answers(address: Address, path: str) -> bool:
    connection = Connection(address)
    try:
        await connection.open()
        return (await connection.send(address.request("GET", path))).status == 200
    except OSError:
        return False
    finally:
        connection.close()


async def settle(server: Server, limit: float) -> None:
    """Waits until the server has done nothing for two seconds: graphs are loaded, start-up work is over."""
    quiet = 0
    used = server.cpu_seconds() or 0.0
    for _ in range(int(limit * 2)):
        await asyncio.sleep(0.5)
        before, used = used, server.cpu_seconds() or 0.0
        quiet = quiet + 1 if used - before <= 0.02 else 0
        if quiet == 4:
            return
