"""The last run of this machine: stored in `.cache/bench`, compared with the next one.

What is stored belongs to a machine (cores, CPU, Python) and to a mode (one process or scale mode, the database).
"""

import hashlib
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .servers import ROOT

DIRECTORY = ROOT / ".cache" / "bench"
# Rounds of one run may agree by chance, and one round tells nothing of noise.
LEAST_NOISE, NOISE_OF_ONE_ROUND = 0.05, 0.20


def machine(workers: int = 0, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what must be the same for two runs to be compared."""
    database = "postgresql" if environment.get("DATABASE_URL") or workers else "sqlite"
    return {
        "cores": os.cpu_count(),
        "cpu": cpu_model(),
        "python": platform.python_version(),
        "workers": workers,
        "database": database,
    }


def cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor, or its architecture where the system does not tell."""
    found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return found[1].strip() if found else platform.machine()


class LastRun:
    """Samples of each line as they were last measured on this machine."""

    def __init__(self, machine: dict[str, Any], directory: Path = DIRECTORY) -> None:
        self.machine = machine
        key = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:12]
        self.path = directory / f"{key}.json"
        self.lines: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.lines = json.loads(self.path.read_text())["lines"]

    def compare(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the ratio to the last run (more than 1 is better), and whether that is worse than noise.

        Noise is the larger spread of the two runs: the distance between best and worst round by the median.
        """
        last, now = self.lines.get(line["key"]), line["samples"]["ours"]
        if last is None or not now or not last["median"] or not statistics.median(now):
            return {"last": None, "to_last": None, "noise": None, "worse": False}
        ratio = statistics.median(now) / last["median"]
        ratio = ratio if line["higher_is_better"] else 1 / ratio
        noise = max(spread_of(now), spread_of(last["samples"]))
        return {"last": last["median"], "to_last": ratio, "noise": noise, "worse": ratio < 1 / (1 + noise)}

    def told(self, lines: Sequence[dict[str, Any]]) -> str:
        """Return a sentence on what these lines were compared with."""
        times = sorted(self.lines[line["key"]]["measured_at"] for line in lines if line["key"] in self.lines)
        if not times:
            return "This machine has no stored run of these rows: there is nothing to compare with."
        when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        return f"Compared with what this machine measured on {when}."

    def store(self, lines: Sequence[dict[str, Any]]) -> None:
        """Store what these lines measured; lines that were not measured keep what they had."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        for line in lines:
            if samples := line["samples"]["ours"]:
                figures = {"median": line["ours"], "samples": samples, "percentiles": line["percentiles"]["ours"]}
                self.lines[line["key"]] = {**figures, "rss": line["rss"]["ours"], "measured_at": now}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = json.dumps({"machine": self.machine, "lines": self.lines}, indent=1)
        # Whole or not at all: two runs may end at the same time.
        draft = self.path.with_suffix(f".{os.getpid()}")
        draft.write_text(whole)
        draft.replace(self.path)


def spread_of(samples: Sequence[float]) -> float:
    """Return how far rounds lie apart, as a share of their median."""
    if len(samples) < 2:
        return NOISE_OF_ONE_ROUND
    median = statistics.median(samples)
    return max((max(samples) - min(samples)) / abs(median) if median else 0.0, LEAST_NOISE)
