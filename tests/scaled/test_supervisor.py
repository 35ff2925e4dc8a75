"""Programs that are kept running, started and ended in their order."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from platform_site.processes.supervisor import Program, Supervisor
from tests.live import ROOT

PROGRAM = """
import os, sys
from platform_site.processes import supervisor
from platform_site.processes.supervisor import GaveUp, Program, Supervisor
supervisor.FIRST_PAUSE = 0.05
def sh(name, stage, script, **options):
    return Program(name, ["sh", "-c", script], dict(os.environ), stage, **options)
try:
    Supervisor([{programs}]).run()
except GaveUp as reason:
    sys.exit(f"gave up: {{reason}}")
"""
# Says when it is asked to end, and ends.
POLITE = "trap 'echo ends; exit 0' TERM; echo pid $$; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo pid $$; while :; do sleep 0.05; done"

Supervise = Callable[..., "Supervised"]


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, path: Path, programs: str) -> None:
        self.path = path
        with path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(programs=programs)], cwd=ROOT, stdout=output, stderr=output
            )

    @property
    def output(self) -> str:
        return self.path.read_text()

    def wait_for(self, text: str, *, times: int = 1) -> None:
        deadline = time.monotonic() + 30
        while self.output.count(text) < times:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def pid_of(self, name: str) -> int:
        self.wait_for(f"{name} | pid ")
        return int(self.output.rpartition(f"{name} | pid ")[2].split()[0])


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    started: list[Supervised] = []

    def start(programs: str) -> Supervised:
        started.append(Supervised(tmp_path / f"{len(started)}.log", programs))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.kill()
        supervised.process.wait()


def test_every_line_names_its_program(supervise: Supervise) -> None:
    supervised = supervise("sh('one', 0, 'echo to stdout; echo to stderr >&2; printf unfinished; exec sleep 60')")
    supervised.wait_for("one | to stdout")
    supervised.wait_for("one | to stderr")
    supervised.process.terminate()
    assert supervised.process.wait(30) == 0
    assert "one | unfinished" in supervised.output


def test_a_program_that_dies_is_started_again(supervise: Supervise) -> None:
    supervised = supervise(f"sh('one', 0, {POLITE!r})")
    first = supervised.pid_of("one")
    os.kill(first, signal.SIGKILL)
    supervised.wait_for("one ended (killed by SIGKILL); it is started again in")
    supervised.wait_for("one | pid", times=2)
    assert supervised.pid_of("one") != first


def test_one_that_never_gets_well_is_given_up_and_the_others_end(supervise: Supervise) -> None:
    supervised = supervise(f"sh('well', 0, {POLITE!r}), sh('sick', 1, 'exit 3')")
    assert supervised.process.wait(30) == 1
    assert "gave up: sick ended 4 times in a row: status 3" in supervised.output
    assert "well | ends" in supervised.output


def test_a_later_stage_begins_when_the_one_before_is_ready(supervise: Supervise, tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    first = f"sh('first', 0, 'sleep 0.3; touch {mark}; exec sleep 60', is_ready=lambda: os.path.exists({str(mark)!r}))"
    supervised = supervise(f"{first}, sh('second', 1, 'ls {mark}; exec sleep 60')")
    supervised.wait_for(f"second | {mark}")


def test_the_last_stage_ends_first(supervise: Supervise) -> None:
    supervised = supervise(f"sh('early', 0, {POLITE!r}), sh('later', 1, {POLITE!r})")
    supervised.pid_of("early")
    supervised.pid_of("later")
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.process.wait(30) == 0
    assert supervised.output.index("later | ends") < supervised.output.index("early | ends")


def test_one_that_does_not_end_is_killed_after_its_time(supervise: Supervise) -> None:
    supervised = supervise(f"sh('one', 0, {STUBBORN!r}, stop_seconds=0.2)")
    supervised.pid_of("one")
    supervised.process.terminate()
    assert supervised.process.wait(30) == 0
    assert "one is killed" in supervised.output


def test_a_second_signal_kills_what_is_left(supervise: Supervise) -> None:
    supervised = supervise(f"sh('one', 0, {STUBBORN!r}, stop_seconds=600)")
    supervised.pid_of("one")
    supervised.process.terminate()
    supervised.wait_for("ending")
    time.sleep(0.7)
    supervised.process.terminate()
    assert supervised.process.wait(30) == 0


def test_the_last_words_of_one_that_ends_with_the_others_are_heard() -> None:
    output = io.StringIO()
    program = Program("one", ["sh", "-c", "echo last words"], {}, 0)
    supervisor = Supervisor([program], output)
    supervisor._start(program)
    assert program.process is not None
    program.process.wait(30)
    supervisor._end()
    assert output.getvalue() == "one | last words\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_nothing_outlives_a_supervisor_that_is_killed(supervise: Supervise) -> None:
    supervised = supervise(f"sh('one', 0, {STUBBORN!r}), sh('two', 1, {POLITE!r})")
    pids = [supervised.pid_of("one"), supervised.pid_of("two")]
    supervised.process.kill()
    assert all(is_gone(pid) for pid in pids)


def test_noise_of_a_program_is_not_passed_on(supervise: Supervise) -> None:
    script = "echo a warning to ignore; echo a word; " + POLITE
    supervised = supervise(f"sh('loud', 0, {script!r}, noise='to ignore')")
    supervised.wait_for("loud | pid ")
    assert "loud | a word" in supervised.output
    assert "to ignore" not in supervised.output
