"""`make soak` works: every kind of visit is made on a real server, and what it prints and stores is whole."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.servers import ROOT

from .__main__ import main
from .visits import MIX


def test_seconds_of_load_on_this_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = main(["--minutes", "0.04", "--every", "1", "--rate", "20", "--threads", "5", "--output", str(tmp_path)])

    printed = capsys.readouterr().out
    (stored,) = tmp_path.glob("*.json")
    result = json.loads(stored.read_text())
    assert result["errors"] == []
    assert code == 0, printed
    # The first visits are one of each kind.
    assert result["visits"] >= len(MIX)
    assert result["verdict"] == "no errors"
    assert {each["figure"] for each in result["growth_an_hour"]} == {"rss", "files", "threads"}
    with stored.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 2
    for row in rows:
        assert row["process"] == "server"
        assert float(row["rss_mb"]) > 50
        assert int(row["open_files"]) > 5
        assert int(row["threads"]) > 1
    assert sum(float(row["runs"]) for row in rows) > 0
    assert "Growth is not judged" in printed
    assert "/dashboard/sign-in/" in stored.with_suffix(".log").read_text()


def test_bad_arguments_are_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--minutes", "0"])

    assert "must be more than 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "variables", "expected"),
    [
        ("soak", [], "-m tests.soak"),
        ("soak", ["SCALED=1", "ARGS=--minutes 5"], "-m tests.soak --scaled 2 --minutes 5"),
        ("soak-faults", [], "-m pytest -m fault"),
    ],
)
def test_targets_of_make(tmp_path: Path, target: str, variables: list[str], expected: str):
    words = ["make", "--dry-run", target, *variables, f"VENV={tmp_path}"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert expected in " ".join(shown.split())
