"""`make bench` works: the program starts this server, drives it and prints the table. No figure is asserted."""

import json
import subprocess
from pathlib import Path

import pytest

from .__main__ import main
from .servers import ROOT


def test_quick_run_measures_this_server_and_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = "create_thread,search_threads,wait_one,wait_thread,custom,steps,history_large,get_state,queue,startup"
    rest = ["--rest", "0.01", "--environment", "EVENT_TTL_SECONDS=1"]
    path = tmp_path / "out.json"

    code = main(["--quick", "--only", f"{rows},finished_streams", *rest, "--json", str(path)])

    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err
    result = json.loads(path.read_text())
    assert result["failures"] == {}
    measured = {line["key"]: line["ours"] for line in result["lines"]}
    assert set(measured) >= {
        "create_thread",
        "search_threads",
        "wait_one",
        "custom",
        "steps_sync",
        "start",
        "memory_rss",
        "wait_thread_p95",
        "history_cold",
        "history_again",
        "history_tail",
        "get_state",
        "streams_rss",
        "streams_rest",
    }
    # CPU time is counted in ticks of the kernel: a quick run may take less than one.
    assert {key: value for key, value in measured.items() if value is None or value < 0} == {}
    for line in result["lines"]:
        if line["key"] in ("create_thread", "search_threads", "wait_one", "wait_thread", "custom", "queue_10"):
            spread = line["percentiles"]["ours"]
            assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"]
        if line["row"] != "startup":
            assert line["rss"]["ours"] > 50
            assert line["full_collections"]["ours"] >= 0
    assert "client alone" in printed.out
    assert "create thread, c=32" in printed.out


def test_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])

    assert "--only knows no nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "needs_databases"), [("--quick", False), ("--scaled 2", True)])
def test_make_installs_the_databases_of_scale_mode(tmp_path: Path, arguments: str, needs_databases: bool):
    words = ["make", "--dry-run", "bench", f"ARGS={arguments}", f"VENV={tmp_path}"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert ("--extra scaled" in shown) is needs_databases
