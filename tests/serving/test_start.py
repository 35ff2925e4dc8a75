"""`manage.py serve`: what a newcomer sees and what answers when."""

import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.live import ROOT, LiveServer, free_port
from tests.serving.conftest import Launch, ask, clean_environment, wait_log, wait_ok, write_graph


def test_prints_where_things_are_and_a_sign_in_link(launch: Launch) -> None:
    server = launch()
    ready = wait_log(server, r"Access .*\n")
    for path in ("/dashboard/", "/docs"):
        assert server.url + path in server.log
    assert str(server.data_dir) in server.log
    assert "no key" in ready[0]


def test_the_sign_in_link_signs_in_once(launch: Launch) -> None:
    server = launch()
    link = wait_log(server, r"Sign in +(\S+)")[1]
    with httpx.Client(timeout=30, follow_redirects=True) as browser:
        page = browser.get(link)
        if form := re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text):
            # A link in a chat is opened by previews too: signing in is a button's deed.
            browser.post(link, data={"csrfmiddlewaretoken": form[1]}, headers={"Referer": link})
        assert "sessionid" in browser.cookies
    with httpx.Client(timeout=30, follow_redirects=True) as another:
        another.post(link, data={}, headers={"Referer": link})
        another.get(link)
        assert "sessionid" not in another.cookies


def test_what_the_graphs_have_brought_is_frozen(launch: Launch) -> None:
    server = launch(LOG_LEVEL="debug")
    found = wait_log(server, r"the garbage collector leaves (\d+) objects alone from now on")
    assert int(found[1]) > 50_000


def test_ok_answers_while_a_graph_is_still_imported(launch: Launch, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    config = write_graph(
        tmp_path / "project", top=f"import pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)"
    )
    server = launch(config)
    assert wait_ok(server).json()["graphs"] == "loading"
    wait_log(server, "Switchyard is ready")
    early = httpx.get(server.url + "/ok", timeout=30).json()
    assert (early["ok"], early["graphs"]) == (True, "loading")
    gate.touch()
    assert ask(server) == "one"
    assert httpx.get(server.url + "/ok", timeout=30).json()["graphs"] == "ready"


def test_a_request_that_comes_too_early_waits_for_its_answer(launch: Launch) -> None:
    server = launch()
    wait_ok(server)
    assert httpx.post(server.url + "/threads", json={}, timeout=60).status_code == 200


def test_default_assistants_are_there_with_the_first_answer(launch: Launch, tmp_path: Path) -> None:
    server = launch(write_graph(tmp_path / "project"))
    wait_ok(server)
    found = httpx.post(server.url + "/assistants/search", json={}, timeout=60).json()
    assert [assistant["graph_id"] for assistant in found] == ["g"]


def test_a_broken_graph_leaves_the_others_alone(launch: Launch, tmp_path: Path) -> None:
    config = write_graph(tmp_path / "project")
    (tmp_path / "project" / "bad.py").write_text("raise RuntimeError('half written')")
    config.write_text(config.read_text().replace('"graphs": {', '"graphs": {"bad": "./bad.py:graph", '))
    server = launch(config)
    wait_ok(server)
    assert ask(server) == "one"
    assert httpx.get(server.url + "/ok", timeout=30).json()["broken_graphs"] == ["bad"]
    graphs = httpx.get(server.url + "/info", timeout=30).json()["graphs"]
    assert graphs["g"] == {"status": "ready"}
    assert "half written" in graphs["bad"]["reason"]
    assert "graph bad could not be loaded" in server.log


def test_the_server_has_imported_itself_before_it_imports_a_graph(launch: Launch, tmp_path: Path) -> None:
    # Two threads in LangGraph's import cycles at the same time may fail each other.
    top = (
        "import sys\n"
        "assert sys.modules['platform_site.api_urls'].urlpatterns\n"
        "assert sys.modules['crons.scheduler'].Scheduler"
    )
    server = launch(write_graph(tmp_path / "project", top=top))
    wait_ok(server)
    assert ask(server) == "one"


def test_settings_may_come_from_the_environment_alone(tmp_path: Path) -> None:
    config = write_graph(tmp_path / "project", answer="from the environment")
    server = LiveServer(None, tmp_path, port=free_port())
    environment = clean_environment(
        HOST="127.0.0.1", PORT=str(server.port), LANGGRAPH_CONFIG=str(config), DATA_DIR=str(tmp_path / "data")
    )
    with server.log_path.open("ab") as log:
        server.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_ok(server)
        assert ask(server) == "from the environment"
    finally:
        server.kill()


def test_port_0_takes_a_free_port_and_says_which(launch: Launch) -> None:
    server = launch(None, "--port", "0")
    url = wait_log(server, r"API +(http://127\.0\.0\.1:\d+)")[1]
    assert httpx.get(url + "/ok", timeout=30).json()["ok"] is True


def test_the_data_directory_is_for_its_owner_alone(launch: Launch) -> None:
    server = launch()
    wait_ok(server)
    assert server.data_dir.stat().st_mode & 0o077 == 0


def test_answers_after_a_kill_on_the_same_data(launch: Launch) -> None:
    server = launch()
    wait_ok(server)
    thread = httpx.post(server.url + "/threads", json={}, timeout=60).json()
    server.kill()
    server.launch()
    wait_ok(server)
    assert httpx.get(f"{server.url}/threads/{thread['thread_id']}", timeout=60).status_code == 200
