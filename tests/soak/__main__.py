"""`python -m tests.soak`: an hour of steady load on this project's server. Does any of its processes grow?

    make soak                           one process on SQLite
    make soak SCALED=1                  web process, two workers, beat, PostgreSQL and Valkey
    make soak ARGS="--minutes 5"        shorter: shows errors, growth is not judged

Users of all kinds come at an even pace (`--rate`), far from what the server can do. Each minute prints a line for every
process; the end prints growth an hour, without the first third. The exit status is 1 if a process grows or anything
failed. CSV, JSON and the server's log are left in `.cache/soak`.
"""

import argparse
import asyncio
import csv
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvloop

from tests.benchmarks.measures import percentile
from tests.benchmarks.servers import ROOT, Command, Server, ServerFailed

from . import verdict
from .load import Load
from .report import HEAD, line
from .sink import open_sink
from .site import Site
from .visits import World
from .watching import Minute, Watcher

# Visits a second for each core, in one process and in scale mode: about half of what a machine with two cores can do.
RATE_PER_CORE, SCALED_RATE_PER_CORE = 20.0, 12.0
# What fills for an hour by default is full after some minutes: then memory that still grows is none of it.
ENVIRONMENT = {
    "EVENT_TTL_RESUMABLE_SECONDS": "300",
    "STATE_CACHE_BYTES": "16000000",
    "WEBHOOK_PRIVATE_ALLOWED": "127.0.0.1",
    "LOG_FORMAT": "json",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="how long the load goes on")
    parser.add_argument("--rate", type=float, help="visits a second; half of the machine by default")
    parser.add_argument("--scaled", type=int, default=0, metavar="WORKERS", help="scale mode with so many workers")
    parser.add_argument("--threads", type=int, default=100, help="threads that are kept at the same time")
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="how often lines are printed")
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "soak", help="folder of CSV, JSON and log")
    options = parser.parse_args(argv)
    if options.minutes <= 0 or options.every <= 0 or options.threads < 1:
        parser.error("--minutes, --every and --threads must be more than 0")
    per_core = SCALED_RATE_PER_CORE if options.scaled else RATE_PER_CORE
    options.rate = options.rate or per_core * (os.cpu_count() or 1)
    return options


@dataclass
class Soak:
    """One soak: the server, the load, what was seen."""

    options: argparse.Namespace
    minutes: list[Minute] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    load: Load | None = None
    lasted: float = 0.0

    async def run(self, directory: Path) -> None:
        command = Command.ours(directory, workers=self.options.scaled, environment=ENVIRONMENT)
        server, _ = await command.start()
        try:
            await self.on(server)
        finally:
            await asyncio.to_thread(server.stop)
            self.errors += errors_in(directory / "server.log")

    async def on(self, server: Server) -> None:
        """Put the load on a server that answers, and watch it."""
        site = Site(server)
        async with open_sink() as sink:
            await graphs_loaded(site)
            world = World(site, sink, await site.sign_in(), kept=self.options.threads)
            self.load, watcher = Load(world, self.options.rate), Watcher(server)
            watching = asyncio.create_task(watcher.watch())
            loading = asyncio.create_task(self.load.run(time.monotonic() + self.options.minutes * 60))
            stop_on_interrupt(loading)
            try:
                await self.each_minute(server, watcher, loading)
            finally:
                watching.cancel()
                loading.cancel()
                site.close()
            self.lasted = (watcher.last - watcher.began) / 60
            self.errors += watcher.restarted
            self.errors += self.load.told()

    async def each_minute(self, server: Server, watcher: Watcher, loading: "asyncio.Task[None]") -> None:
        """Print what every process has, until the load ends."""
        assert self.load is not None
        print(HEAD, flush=True)
        while not loading.done():
            visits = self.load.visits
            await asyncio.wait([loading], timeout=self.options.every)
            if server.process is not None and server.process.poll() is not None:
                self.errors.append(f"the server ended with {server.process.returncode}")
                return
            try:
                minutes = await watcher.minute()
            except httpx.HTTPError as exc:
                self.errors.append(f"/metrics did not answer: {type(exc).__name__}: {exc}")
                continue
            waits = self.load.take_waits()
            figures = {
                "seconds": watcher.last_span,
                "visits": self.load.visits - visits,
                "errors": self.load.errors.total(),
                "p95": percentile(waits, 0.95) * 1000 if waits else None,
            }
            for number, minute in enumerate(minutes):
                print(line(minute, sum(each.runs for each in minutes), figures if number == 0 else None), flush=True)
            self.minutes += minutes

    def series(self) -> dict[str, list[verdict.Point]]:
        found: dict[str, list[verdict.Point]] = {}
        for minute in self.minutes:
            found.setdefault(minute.process, []).append(minute.point)
        return found

    def write(self, directory: Path, text: str, growths: list[verdict.Growth]) -> Path:
        """Store the figures beside each other as CSV and JSON; return their path without its ending."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / time.strftime("%Y-%m-%d-%H%M%S")
        rows = [minute.as_dict() for minute in self.minutes]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with path.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        whole: dict[str, Any] = {
            "options": {name: str(value) for name, value in vars(self.options).items()},
            "visits": self.load.visits if self.load else 0,
            "minutes": rows,
            "growth_an_hour": [
                {"process": each.process, "figure": each.figure, "growth": each.per_hour, "bound": each.bound}
                for each in growths
            ],
            "errors": self.errors,
            "verdict": text.splitlines()[-1],
        }
        path.with_suffix(".json").write_text(json.dumps(whole, indent=1))
        return path


def stop_on_interrupt(loading: "asyncio.Task[None]") -> None:
    """End the load at the first Ctrl-C or SIGTERM: the verdict is about what was seen until then."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        print("stopped; what was seen until now:", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        loading.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


async def graphs_loaded(site: Site, timeout: float = 60) -> None:
    """Wait until the graphs are loaded and the link to sign in is printed."""
    assert site.server.log is not None
    for _ in range(int(timeout * 10)):
        ready = (await site.ask("GET", "/ok"))["graphs"] == "ready"
        if ready and "/dashboard/sign-in/" in site.server.log.read_text(errors="replace"):
            return
        await asyncio.sleep(0.1)
    raise ServerFailed("the graphs were not loaded in time")


def errors_in(log: Path) -> list[str]:
    """Return the messages of the error lines in a server's log, each once."""
    found: dict[str, int] = {}
    for text in log.read_text(errors="replace").splitlines() if log.exists() else ():
        # In scale mode a line begins with the name of its program.
        _, brace, rest = text.partition("{")
        try:
            entry = json.loads(brace + rest) if brace else {}
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
            message = f"log of the server: {entry.get('message')}"
            found[message] = found.get(message, 0) + 1
    return [f"{message} ({count} times)" for message, count in found.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak and print its verdict; return 1 if a process grows or anything failed, else 0."""
    options = arguments(argv)
    soak = Soak(options)
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            uvloop.run(soak.run(directory))
        except ServerFailed as exc:
            soak.errors.append(str(exc))
        growths = verdict.growths(soak.series(), soak.lasted)
        text = verdict.told(growths, soak.lasted, soak.errors)
        path = soak.write(options.output, text, growths)
        if (log := directory / "server.log").exists():
            shutil.copy(log, path.with_suffix(".log"))
    print(f"\n{text}\n\n{path}.csv, .json and .log", flush=True)
    return 1 if soak.errors or any(growth.too_much for growth in growths) else 0


if __name__ == "__main__":
    sys.exit(main())
