"""`python -m tests.benchmarks`: drives servers that speak the LangGraph Platform API and prints how fast they are.

By default it starts this project's server on a fresh data directory and a free port. Another server can be measured in
the same run, taking turns with ours, so that both meet the same noise:

    make bench ARGS="--against http://127.0.0.1:3401"
    make bench ARGS="--against-command 'langgraph dev --no-browser --no-reload --port {port} --config {config}'"

    make bench ARGS="--scaled 2"

measures web process, two workers, PostgreSQL and Valkey as `serve --scaled` starts them.

The other server must serve the graphs of tests/benchmarks/langgraph.json. The figures of our server are stored for this
machine in .cache/bench, and the next run is compared with them.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from . import own_cost, report, startup
from .client import Address, BadAnswer
from .measures import Metrics
from .memory_rows import MEMORY_ROWS
from .observed import observe
from .queue_rows import QUEUE_ROWS
from .report import IN_PROCESS, OURS, THEIRS, Results
from .rows import ROWS
from .rows_of import Row
from .scale import QUICK, Scale
from .servers import ROOT, Command, Server, ServerFailed, settle
from .state_rows import STATE_ROWS
from .stored import LastRun, machine

# The longest that one start may take.
STARTUP_SECONDS = 180
ALL_ROWS = (*ROWS, *STATE_ROWS, *QUEUE_ROWS, *MEMORY_ROWS)
FAILURES = (BadAnswer, ServerFailed, OSError, TimeoutError, ValueError, KeyError)


class InProcess:
    """The subprocess that runs the graphs with no server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls) -> "InProcess":
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.benchmarks.inprocess", cwd=ROOT, stdin=pipe, stdout=pipe
            )
        )

    async def measure(self, row: Row, scale: Scale) -> Metrics:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"row": row.name, "scale": scale.as_dict()}).encode() + b"\n")
        answer = await self.process.stdout.readline()
        if not answer:
            raise ServerFailed("the process that runs graphs with no server ended; its error is above")
        metrics: Metrics = json.loads(answer)
        return metrics

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    names = [row.name for row in ALL_ROWS] + ["startup"]
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="measure this server as ours, instead of starting one")
    parser.add_argument("--against", metavar="URL", help="another server that runs already")
    parser.add_argument(
        "--against-command", metavar="LINE", help="start another one; {port} {config} {data}: filled in"
    )
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE", help="sent with every request")
    parser.add_argument("--scaled", type=int, default=0, metavar="WORKERS", help="measure scale mode with so many")
    parser.add_argument("--only", metavar="ROW,ROW", help=f"of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="how often every measurement is taken")
    parser.add_argument("--seconds", type=float, help="how long one measurement repeats its request")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that every row works, no more")
    parser.add_argument("--no-in-process", action="store_true", help="skip the runs with no server")
    parser.add_argument("--rest", type=float, default=0, metavar="MINUTES", help="measure memory again after a rest")
    parser.add_argument(
        "--environment", action="append", default=[], metavar="NAME=VALUE", help="a setting of our server"
    )
    parser.add_argument("--not-stored", action="store_true", help="leave this machine's last run as it is")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything, with each sample, to this file")
    options = parser.parse_args(argv)
    options.only = options.only.split(",") if options.only else names
    if unknown := set(options.only) - set(names):
        parser.error(f"--only knows no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if options.against and options.against_command:
        parser.error("--against and --against-command exclude each other")
    try:
        options.header = [tuple(part.strip() for part in header.split(":", 1)) for header in options.header]
        options.header = [(name, value) for name, value in options.header]
        options.environment = dict(_setting(each) for each in options.environment)
        for url in filter(None, (options.url, options.against)):
            Address.parse(url)
    except ValueError as exc:
        parser.error(str(exc))
    return options


def _setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise ValueError(f"--environment takes NAME=VALUE, not {text}")
    return name, value


def scale_of(options: argparse.Namespace) -> Scale:
    scale = replace(QUICK if options.quick else Scale(), rest_minutes=options.rest)
    if options.rounds:
        scale = replace(scale, rounds=options.rounds)
    return replace(scale, seconds=options.seconds) if options.seconds else scale


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Benchmark:
    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.scale = scale_of(options)
        self.directory = directory
        self.results = Results()
        # A quick run, other settings or another server say nothing of this machine.
        ours = not (options.quick or options.url or options.environment)
        self.last_run = LastRun(machine(options.scaled)) if ours else None
        self.rows = [row for row in ALL_ROWS if row.name in options.only and (row.in_quick or not options.quick)]

    def command(self, who: str, purpose: str) -> Command | None:
        """How to start that server for a purpose (each has a data directory of its own), if we may start it."""
        directory = self.directory / who / purpose
        if who == OURS:
            return (
                None
                if self.options.url
                else Command.ours(
                    directory,
                    config=purpose != "startup",
                    workers=self.options.scaled,
                    environment=self.options.environment,
                )
            )
        if not self.options.against_command:
            return None
        return Command.parse(who, self.options.against_command, directory, self.options.header)

    async def attempt(self, who: str, row: str, work: Awaitable[Metrics], limit: float) -> bool:
        """Takes one measurement; a failure is kept for the report and the other rows go on."""
        try:
            metrics = await asyncio.wait_for(work, limit)
        except FAILURES as exc:
            self.results.failures[who, row] = f"{type(exc).__name__}: {exc}"
            tell(f"  {row}: {who} failed: {exc}")
            return False
        self.results.add(who, row, metrics)
        figures = ", ".join(f"{key} {report.number(value)}" for key, value in metrics.items() if "." not in key)
        tell(f"  {row}: {who}: {figures}")
        return True

    async def startup(self) -> None:
        commands = {who: self.command(who, "startup") for who in (OURS, THEIRS)}
        for round_number in range(self.scale.rounds):
            for who, command in commands.items():
                if command is not None and (who, "startup") not in self.results.failures:
                    await self.attempt(
                        who, "startup", startup.measure(command, round_number, self.scale), STARTUP_SECONDS
                    )

    async def server(self, who: str, purpose: str, stack: AsyncExitStack) -> Server | None:
        url = self.options.url if who == OURS else self.options.against
        if url:
            server = Server.running(who, Address.parse(url, self.options.header))
            if "startup" in self.options.only and purpose == "rows":
                self.results.add(who, "startup", startup.idle(server))
        elif command := self.command(who, purpose):
            server, _ = await command.start()
            stack.callback(server.stop)
        else:
            return None
        tell(f"{who}: http://{server.address.host}:{server.address.port}, process {server.pid or 'not to be seen'}")
        return server

    async def run(self) -> None:
        self.results.own_cost = await own_cost.measure(min(self.scale.seconds, 1), self.scale.streams)
        tell(report.own_cost(self.results.own_cost))
        if "startup" in self.options.only:
            await self.startup()
        if not self.rows:
            return
        for row in self.rows:
            if row.own_server:
                await self.measure_alone(row)
        if not (shared := [row for row in self.rows if not row.own_server]):
            return
        async with AsyncExitStack() as stack:
            servers = [server for who in (OURS, THEIRS) if (server := await self.server(who, "rows", stack))]
            in_process = None
            if not self.options.no_in_process and any(row.in_process for row in shared):
                in_process = await InProcess.start()
                stack.push_async_callback(in_process.stop)
            for row in sorted(shared, key=lambda row: row.last):
                await self.measure(row, servers, in_process)

    async def on(self, server: Server, row: Row) -> None:
        """Take one measurement on this server."""
        limit = row.limit_seconds + self.scale.rest_minutes * 60
        await self.attempt(server.name, row.name, observe(server, row.measure(server, self.scale)), limit)

    async def measure_alone(self, row: Row) -> None:
        """One measurement on each of the servers, started for it and stopped again."""
        for who in (OURS, THEIRS):
            async with AsyncExitStack() as stack:
                if server := await self.server(who, row.name, stack):
                    await settle(server, self.scale.settle_seconds)
                    await self.on(server, row)

    async def measure(self, row: Row, servers: list[Server], in_process: InProcess | None) -> None:
        """All rounds of one row; who begins changes from round to round."""
        loop = asyncio.get_running_loop()
        left = {server.name: self.scale.row_seconds for server in servers} | {IN_PROCESS: self.scale.row_seconds}
        for round_number in range(self.scale.rounds):
            turns = servers if round_number % 2 == 0 else servers[::-1]
            for server in turns:
                if left[server.name] > 0 and (server.name, row.name) not in self.results.failures:
                    began = loop.time()
                    await self.on(server, row)
                    left[server.name] -= loop.time() - began
            if row.in_process and in_process is not None and left[IN_PROCESS] > 0:
                began = loop.time()
                await self.attempt(IN_PROCESS, row.name, in_process.measure(row, self.scale), row.limit_seconds)
                left[IN_PROCESS] -= loop.time() - began

    def lines(self) -> list[dict[str, Any]]:
        lines = [self.results.line(row.name, line) for row in self.rows for line in row.lines]
        if "startup" in self.options.only:
            lines += [self.results.line("startup", line) for line in startup.LINES]
        if self.last_run is not None:
            lines = [{**line, **self.last_run.compare(line)} for line in lines]
        return lines

    def as_json(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "machine": {**machine(self.options.scaled), "load": os.getloadavg()},
            "scale": self.scale.as_dict(),
            "quick": self.options.quick,
            "client": self.results.own_cost,
            "lines": lines,
            "failures": {f"{row}: {who}": text for (who, row), text in self.results.failures.items()},
        }


def finish(benchmark: Benchmark, options: argparse.Namespace) -> None:
    """Print the tables, and store the results where they are asked for and for the next run."""
    scale, lines = benchmark.scale, benchmark.lines()
    if benchmark.results.samples:
        print(f"\n{scale.rounds} rounds of {scale.seconds:g} s; medians", end="")
        print("; quick: these figures mean nothing" if options.quick else "")
        print(report.own_cost(benchmark.results.own_cost))
        print(f"\n{report.with_notes(report.tables(lines))}", flush=True)
    for (who, row), text in benchmark.results.failures.items():
        print(f"failed: {row} on {who}: {text}")
    if options.json:
        options.json.write_text(json.dumps(benchmark.as_json(lines), indent=1))
    if benchmark.last_run is not None:
        print(f"\n{benchmark.last_run.told(lines)}", flush=True)
        if not options.not_stored:
            benchmark.last_run.store(lines)
            print(f"Stored in {benchmark.last_run.path}; the next run is compared with this one.", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints the table; 1 if one of our rows failed, whatever its speed."""
    options = arguments(argv)
    # For the servers and the process that are started from here: no traces to anybody.
    os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        benchmark = Benchmark(options, Path(directory))
        try:
            uvloop.run(benchmark.run())
        except ServerFailed as exc:
            tell(str(exc))
            return 1
        finally:
            finish(benchmark, options)
    return 1 if any(who == OURS for who, _ in benchmark.results.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
