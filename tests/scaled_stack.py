"""Scale mode with real processes: PostgreSQL, Valkey, web processes and workers that tests may kill, freeze, restart.

    stack = ScaledStack(config).start(workers=2)
    stack.web.url; stack.workers[0].freeze(); stack.start_worker(); stack.restart_valkey()

Import `scaled_stacks` (a factory) or `scaled_stack` (one with the contract's graphs, one worker) into a test module.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from redis import Redis

from platform_site.processes.local_servers import LocalPostgres, LocalValkey
from tests.live import CONTRACT_CONFIG, INHERITED, ROOT, LiveServer, spied

SECRET_KEY = "the-secret-key-of-the-scaled-test-stack-0123456789"


@dataclass
class Handle:
    """A process that a test may do anything to."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log_path: Path
    # For PostgreSQL, which does not run as root.
    options: dict[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def launch(self) -> None:
        """Start it and return at once; its log goes on where the last one ended."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**inherited, **spied(), "PYTHONUNBUFFERED": "1", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.options,
            )

    def wait_until(self, true: Callable[[], bool], *, timeout: float = 60) -> None:
        """Wait for something that this process brings about; an error with its log if it ends before."""
        deadline = time.monotonic() + timeout
        while not true():
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log[-6000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not come so far:\n{self.log[-6000:]}")
            time.sleep(0.02)

    def wait_log(self, text: str, *, timeout: float = 60) -> None:
        """Wait until this process has written `text`."""
        self.wait_until(lambda: text in self.log, timeout=timeout)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP: it does nothing at all until `thaw`, and does not know."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def terminate(self, number: int = signal.SIGTERM, *, timeout: float = 60) -> int:
        """SIGTERM, as a deployment would; the exit status."""
        assert self.process is not None
        self.send(number)
        status = self.process.wait(timeout)
        self.process = None
        return status


@dataclass
class Worker(Handle):
    """A Celery worker with the engine in it."""

    def start(self) -> "Worker":
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self, *, timeout: float = 60) -> None:
        """Wait until this start of it may claim runs."""
        self.wait_until(lambda: self.log.rpartition("starting worker")[2].count("worker ready") > 0, timeout=timeout)

    def launch(self) -> None:
        with self.log_path.open("a") as log:
            log.write(f"starting worker {self.name}\n")
        super().launch()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()


class ScaledStack:
    """One PostgreSQL, one Valkey, any number of web processes, workers and beats on them."""

    def __init__(self, config: Path | None, **environment: str) -> None:
        """`environment` is every process's; `config` is None for the samples."""
        self.config = config
        # Not under pytest's own directory, which only its user may enter: PostgreSQL is somebody else under root.
        self.directory = Path(tempfile.mkdtemp(prefix="switchyard-stack-"))
        self.directory.chmod(0o755)
        self._postgres = LocalPostgres(self.directory / "data" / "postgres")
        self._valkey = LocalValkey(self.directory / "data" / "valkey")
        self._extra = environment
        self.postgres = Handle("postgres", [], {}, self.directory / "postgres.log")
        self.valkey = Handle("valkey", [], {}, self.directory / "valkey.log")
        self.webs: list[LiveServer] = []
        self.workers: list[Worker] = []
        self.beats: list[Handle] = []

    # --- life -------------------------------------------------------------------------------------

    def start(self, *, workers: int = 1, webs: int = 1, capacity: int = 50) -> "ScaledStack":
        """Start everything; returns when web and workers are ready."""
        self.start_databases()
        for _ in range(workers):
            self.start_worker(capacity=capacity, wait=False)
        for _ in range(webs):
            self.start_web()
        for worker in self.workers:
            worker.wait_ready()
        return self

    def start_databases(self) -> None:
        self._postgres.prepare()
        self._valkey.prepare()
        self.postgres.command = self._postgres.command
        if (user := self._postgres.user) is not None:
            self.postgres.options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.valkey.command = self._valkey.command
        self.start_postgres()
        self.start_valkey()

    def stop(self) -> None:
        """Kill everything and remove what it kept on disk."""
        for web in self.webs:
            web.stop()
        for process in (*self.workers, *self.beats, self.valkey, self.postgres):
            process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- what is reached where --------------------------------------------------------------------

    @property
    def database_url(self) -> str:
        return self._postgres.url()

    @property
    def redis_url(self) -> str:
        return self._valkey.url

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the stack is told."""
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "SECRET_KEY": SECRET_KEY,
            "DATA_DIR": str(self.directory / "data"),
            "LOG_FORMAT": "json",
            **({"LANGGRAPH_CONFIG": str(self.config)} if self.config is not None else {}),
            **self._extra,
        }

    @property
    def web(self) -> LiveServer:
        """The first web process."""
        return self.webs[0]

    @property
    def url(self) -> str:
        return self.web.url

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """What PostgreSQL answers."""
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def redis(self) -> "Redis":
        return Redis.from_url(self.redis_url)

    # --- processes --------------------------------------------------------------------------------

    def start_worker(self, *, capacity: int = 50, wait: bool = True, **environment: str) -> Worker:
        """One more worker with room for so many runs."""
        name = f"worker-{len(self.workers)}"
        command = [sys.executable, "-m", "celery", "-A", "platform_site", "worker", "-n", f"{name}@%h"]
        worker = Worker(
            name,
            [*command, f"--concurrency={capacity}"],
            {**self.environment, **environment},
            self.directory / f"{name}.log",
        )
        self.workers.append(worker)
        worker.launch()
        if wait:
            worker.wait_ready()
        return worker

    def start_web(self, **environment: str) -> LiveServer:
        """One more web process; returns when it answers and its graphs are loaded."""
        web = self.launch_web(**environment)
        web.wait_ready()
        return web

    def launch_web(self, **environment: str) -> LiveServer:
        """One more web process; returns at once."""
        directory = self.directory / f"web-{len(self.webs)}"
        directory.mkdir()
        web = LiveServer(self.config, directory, {**self.environment, **environment})
        self.webs.append(web)
        web.launch()
        return web

    def start_beat(self, **environment: str) -> Handle:
        """A beat; returns at once."""
        name = f"beat-{len(self.beats)}"
        command = [sys.executable, "-m", "celery", "-A", "platform_site", "beat"]
        beat = Handle(name, command, {**self.environment, **environment}, self.directory / f"{name}.log")
        self.beats.append(beat)
        beat.launch()
        return beat

    def start_postgres(self) -> None:
        self.postgres.launch()
        self.postgres.wait_until(self._postgres.is_ready)

    def stop_postgres(self, *, hard: bool = False) -> None:
        """Stop it as an operator would, connections cut; or as a crash would."""
        # SIGINT is a fast shutdown, SIGQUIT one without a checkpoint.
        self.postgres.terminate(signal.SIGQUIT if hard else signal.SIGINT)

    def restart_postgres(self, *, hard: bool = False) -> None:
        """Stop it and start it again; returns when it answers. Nothing that was committed is lost."""
        self.stop_postgres(hard=hard)
        self.start_postgres()

    def start_valkey(self) -> None:
        self.valkey.launch()
        self.valkey.wait_until(self._valkey.is_ready)

    def stop_valkey(self, *, hard: bool = False) -> None:
        if hard:
            self.valkey.kill()
        else:
            self.valkey.terminate()

    def restart_valkey(self, *, hard: bool = False) -> None:
        """Stop it and start it again; returns when it answers. It has forgotten everything."""
        self.stop_valkey(hard=hard)
        self.start_valkey()


@pytest.fixture(scope="session")
def scaled_stacks() -> Iterator[Callable[..., ScaledStack]]:
    """Make stacks of one's own: `scaled_stacks(config, NAME="value")`, not started; all end with the session."""
    made: list[ScaledStack] = []

    def make(config: Path | None = CONTRACT_CONFIG, **environment: str) -> ScaledStack:
        stack = ScaledStack(config, **environment)
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.stop()


@pytest.fixture(scope="session")
def scaled_stack(scaled_stacks: Callable[..., ScaledStack]) -> ScaledStack:
    """The stack with the graphs of the contract, one web process and one worker, for tests that leave it running."""
    return scaled_stacks().start()
