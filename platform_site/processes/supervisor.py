"""Keeps a set of programs running: started in order, restarted with a growing pause, ended in the reverse order.

One thread, no event loop: programs are made by fork, which threads make unsafe. Where the kernel can (Linux), a program
ends with its supervisor, even when that is killed.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO

# Seconds before a program that ended is started again: doubled each time, until it has lived for `WELL_SECONDS`.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
WELL_SECONDS = 10.0
# A program that ended so often without ever having been well will not be by being tried again.
MOST_EARLY_ENDS = 4
# Two signals within this time are one.
SAME_SIGNAL_SECONDS = 0.5
_TICK = 0.1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class GaveUp(Exception):
    """A program cannot be started; the message says which."""


@dataclass
class Program:
    """What is kept running."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    # Programs of a lower stage are ready before those of a higher one are started, and end after them.
    stage: int
    # Whether it does its work; None if nothing later depends on it.
    is_ready: Callable[[], bool] | None = None
    # What asks it to end, how long that may take, and what it gets when the supervisor is gone.
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 10.0
    orphan_signal: int = signal.SIGKILL
    # `user`, `group`, `extra_groups` of subprocess.Popen.
    identity: dict[str, Any] = field(default_factory=dict)
    # Lines that contain this text are not passed on. Empty passes on every line.
    noise: str = ""

    # --- its state --------------------------------------------------------------------------------
    process: "subprocess.Popen[bytes] | None" = None
    began: float = 0.0
    # When it is due to start again.
    due: float = 0.0
    ends_in_a_row: int = 0
    was_well: bool = False
    unfinished_line: bytes = b""

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs programs until a signal ends it. For the main thread."""

    def __init__(self, programs: Sequence[Program], output: TextIO = sys.stdout) -> None:
        self.programs = list(programs)
        self._output = output
        self._width = max(len(program.name) for program in programs)
        self._selector = selectors.DefaultSelector()
        self._signals = 0
        self._asked_at = float("-inf")

    def run(self) -> None:
        """Start everything and keep it running; returns after SIGTERM or SIGINT, when everything has ended.

        A second signal kills what is left. Raises GaveUp, after everything has ended, if a program never gets well.
        """
        with self._listening():
            try:
                for stage in sorted({program.stage for program in self.programs}):
                    if not self._signals:
                        self._start_stage(stage)
                while not self._signals:
                    self._look_after()
                self.say("ending")
            finally:
                self._end()

    def say(self, text: str) -> None:
        """Write a line of the supervisor's own."""
        self._write("switchyard", text)

    # --- start --------------------------------------------------------------------------------------

    def _start_stage(self, stage: int) -> None:
        programs = [program for program in self.programs if program.stage == stage]
        for program in programs:
            self._start(program)
        while not self._signals and not all(program.is_ready is None or program.is_ready() for program in programs):
            self._look_after()

    def _start(self, program: Program) -> None:
        program.process = subprocess.Popen(
            program.command,
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us: we end the programs in their order.
            start_new_session=True,
            preexec_fn=_end_with_parent(program.orphan_signal),
            **program.identity,
        )
        program.began, program.due = time.monotonic(), 0.0
        assert program.process.stdout is not None
        os.set_blocking(program.process.stdout.fileno(), False)
        self._selector.register(program.process.stdout, selectors.EVENT_READ, program)

    # --- while it runs ------------------------------------------------------------------------------

    def _look_after(self) -> None:
        self._pass_output_on()
        now = time.monotonic()
        for program in self.programs:
            if program.process is None:
                if program.due and now >= program.due:
                    self._start(program)
            elif program.process.poll() is not None:
                self._plan_restart(program, program.process.returncode, now)
            elif now - program.began >= WELL_SECONDS:
                program.was_well, program.ends_in_a_row = True, 0

    def _plan_restart(self, program: Program, status: int, now: float) -> None:
        self._forget(program)
        program.ends_in_a_row += 1
        if program.ends_in_a_row >= MOST_EARLY_ENDS and not program.was_well:
            raise GaveUp(f"{program.name} ended {program.ends_in_a_row} times in a row: {_reason(status)}")
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (program.ends_in_a_row - 1))
        program.due = now + pause
        self.say(f"{program.name} ended ({_reason(status)}); it is started again in {pause:g} s")

    def _pass_output_on(self, timeout: float = _TICK) -> None:
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Program):
                self._read(key.data)
            else:
                # The wake-up of a signal.
                key.data.recv(4096)

    def _read(self, program: Program) -> bool:
        """Pass on what the program has written; whether that was anything."""
        assert program.process is not None
        assert program.process.stdout is not None
        try:
            text = os.read(program.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        *lines, program.unfinished_line = (program.unfinished_line + text).split(b"\n")
        for line in lines:
            words = line.decode(errors="replace")
            if not program.noise or program.noise not in words:
                self._write(program.name, words)
        if not text and program.process.stdout in self._selector.get_map():
            # It closed its output: the end of the process follows.
            self._selector.unregister(program.process.stdout)
        return bool(text)

    def _write(self, name: str, line: str) -> None:
        # Whoever read our output may be gone; the programs go on.
        with contextlib.suppress(OSError, ValueError):
            self._output.write(f"{name:<{self._width}} | {line}\n")
            self._output.flush()

    def _forget(self, program: Program) -> None:
        """Take the last words of a process that has ended."""
        assert program.process is not None
        assert program.process.stdout is not None
        while self._read(program):
            pass
        if program.unfinished_line:
            self._write(program.name, program.unfinished_line.decode(errors="replace"))
            program.unfinished_line = b""
        if program.process.stdout in self._selector.get_map():
            self._selector.unregister(program.process.stdout)
        program.process.stdout.close()
        program.process = None

    # --- the end ------------------------------------------------------------------------------------

    def _end(self) -> None:
        """End the stages, the last one first. Within one, programs end together."""
        for stage in sorted({program.stage for program in self.programs}, reverse=True):
            programs = [program for program in self.programs if program.stage == stage and program.process is not None]
            for program in programs:
                assert program.process is not None
                # Nothing is sent to one that has ended by itself; what it said last is passed on below.
                program.process.send_signal(program.stop_signal)
            limit = time.monotonic() + max((program.stop_seconds for program in programs), default=0.0)
            while any(program.is_running for program in programs):
                self._pass_output_on()
                if time.monotonic() >= limit or self._signals > 1:
                    self._kill(programs)
            for program in programs:
                self._forget(program)

    def _kill(self, programs: Sequence[Program]) -> None:
        for program in programs:
            if program.is_running and program.process is not None:
                self.say(f"{program.name} is killed")
                program.process.kill()
                program.process.wait()

    # --- signals ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Any:
        """Count SIGTERM and SIGINT, and wake the selector by them and by the end of a program."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ, reader)
        handlers = {number: signal.signal(number, self._asked) for number in (signal.SIGTERM, signal.SIGINT)}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            reader.close()
            writer.close()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        # `make` passes a signal on that its process group was sent: two of them at once are one wish.
        if now - self._asked_at > SAME_SIGNAL_SECONDS:
            self._signals += 1
            self._asked_at = now


def _reason(status: int) -> str:
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _end_with_parent(number: int) -> Callable[[], None] | None:
    """What a child does before it becomes the program: ask the kernel for a signal at the end of its parent."""
    libc, parent = _libc, os.getpid()
    if libc is None:
        return None

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return ask
