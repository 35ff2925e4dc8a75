"""A real server in a process of its own, which tests may kill and start again on the same data.

`SERVER_URL` in the environment points the tests that only talk HTTP at a server that runs already.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
CONTRACT_CONFIG = Path(__file__).resolve().parent / "contract" / "transcripts" / "graphs" / "langgraph.json"
# What a test server inherits: nothing of the settings that a developer's shell may hold.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")

# What started servers are told so that the spies are in them, too (`tests.spies`); set by the conftest.
SPIED = {"DJANGO_SETTINGS_MODULE": "tests.spies.settings"}

# The official client. Its types fit Python callers with typed state, not tests that read the JSON.
Client = Any
SyncClient = Any

# Every server that this test session started, for the log of a failed test.
servers: "list[LiveServer]" = []


def spied() -> dict[str, str]:
    """The variables that bring the spies into a process; none where no test looks at what they see."""
    return SPIED if "SWITCHYARD_TEST_VIOLATIONS" in SPIED else {}


def free_port() -> int:
    """A port outside the range from which outgoing connections take theirs: it is still free after a restart."""
    for _ in range(200):
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 30000")


@dataclass
class LiveServer:
    """`manage.py serve` on a port and a data directory that stay the same over restarts."""

    config: Path | None
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    # `http.mount_prefix` of the config.
    prefix: str = ""
    # What `wait_ready` sends along: a key, where the server asks for one.
    headers: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    # The interpreter of the environment that the server runs in.
    python: Path = Path(sys.executable)
    # The folder that the command is started in.
    started_in: Path = ROOT

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        return self.directory / "server.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self, timeout: float = 60) -> "LiveServer":
        """Start the process and return when it answers and its graphs are loaded."""
        self.launch()
        self.wait_ready(timeout)
        return self

    def command(self) -> list[str]:
        """The command that starts the process."""
        command = [str(self.python), str(ROOT / "manage.py"), "serve", "--port", str(self.port)]
        command += ["--data-dir", str(self.data_dir), *self.arguments]
        return command if self.config is None else [*command, "--config", str(self.config)]

    def launch(self) -> None:
        """Start the process and return at once."""
        if self not in servers:
            servers.append(self)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.started_in,
                env={**inherited, **spied(), "PYTHONUNBUFFERED": "1", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until `/ok` answers and the graphs are loaded; a server that ends instead is an error with its log."""
        deadline = time.monotonic() + timeout
        with httpx.Client(base_url=self.url + self.prefix, timeout=timeout, headers=self.headers) as http:
            while True:
                if self.process is not None and self.process.poll() is not None:
                    raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log[-6000:]}")
                try:
                    if http.get("/ok").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the server does not answer:\n{self.log[-6000:]}")
                time.sleep(0.05)
            # Any call that needs a graph waits until the graphs are loaded.
            answer = http.post("/assistants/search", json={"limit": 1, "select": ["graph_id"]})
            if answer.status_code != 200:
                raise RuntimeError(f"the server answers {answer.status_code} {answer.text}:\n{self.log[-6000:]}")
            if found := answer.json():
                http.get(f"/assistants/{found[0]['graph_id']}/graph")

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def terminate(self, timeout: float = 60) -> int:
        """SIGTERM, as a deployment would; the exit status once the server has drained."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout)
        self.process = None
        return status

    def restart(self) -> None:
        """Kill and start again on the same data."""
        self.kill()
        self.start()

    def stop(self) -> None:
        if self.process is not None:
            self.kill()
        if self in servers:
            servers.remove(self)


@dataclass
class RunningServer:
    """A server that somebody else started, named by `SERVER_URL`."""

    url: str
    log: str = ""
