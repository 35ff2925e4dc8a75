"""docs/webhooks.md is followed: its receiver verifies what a server sends with the secret that the command prints."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.live import ROOT, LiveServer, free_port

PAGE = (ROOT / "docs" / "webhooks.md").read_text()


def receiver_of_the_page() -> str:
    return next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Receiver" in block)


def secret_of(server: LiveServer) -> str:
    [command] = re.findall(r"manage.py (webhook_secret show)", PAGE)
    shown = subprocess.run(
        [sys.executable, "manage.py", *command.split()],
        cwd=ROOT,
        env={"DATA_DIR": str(server.data_dir), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return shown.stdout.strip()


@pytest.fixture
def listed(start_server: Callable[..., LiveServer]) -> LiveServer:
    return start_server(None, WEBHOOK_PRIVATE_ALLOWED="127.0.0.1/32")


def test_documented_receiver_verifies_a_webhook(listed: LiveServer, tmp_path: Path) -> None:
    port = free_port()
    program = receiver_of_the_page().replace("2335", str(port))
    out = tmp_path / "out"
    with out.open("w") as file:
        receiver = subprocess.Popen(
            [sys.executable, "-c", program], stdout=file, stderr=file, env={"WEBHOOK_SECRET": secret_of(listed)}
        )
    try:
        with httpx.Client(base_url=listed.url, timeout=30) as http:
            body = {"assistant_id": "chat", "input": {"messages": []}, "webhook": f"http://127.0.0.1:{port}/"}
            run = http.post("/runs", json={**body, "on_completion": "keep"}).json()
        deadline = time.monotonic() + 30
        while run["run_id"] not in out.read_text():
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.05)
        # A request that nobody has signed is refused.
        assert httpx.post(f"http://127.0.0.1:{port}/", json={}).status_code == 401
    finally:
        receiver.kill()
        receiver.wait()


def test_metrics_tell_of_webhooks(listed: LiveServer) -> None:
    shown = httpx.get(f"{listed.url}/metrics").text
    for name in re.findall(r"`(switchyard_webhooks_\w+)`", PAGE):
        assert f"# TYPE {name.removesuffix('_total')}" in shown or f"# TYPE {name}" in shown
