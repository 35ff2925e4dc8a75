"""The queue's file is the one place that writes leases; everything else asks it to."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# A statement, or a call of the ORM, that gives or takes the lease of a run.
WRITES = re.compile(
    r"(UPDATE|INTO|DELETE FROM) runs_run\b|update\([^)]*\blease_owner|save\([^)]*\blease_owner|\brun\.lease_owner = "
)
# Deliveries of webhooks have leases of their own.
OF_WEBHOOKS = re.compile(r"webhooks/|migrations/")


def writers() -> set[str]:
    apps = ("runs", "threads", "assistants", "crons", "store", "platform_site")
    files = [file for app in apps for file in (ROOT / app).rglob("*.py") if not OF_WEBHOOKS.search(str(file))]
    return {str(file.relative_to(ROOT)) for file in files if re.search(WRITES, file.read_text())}


def test_leases_are_written_in_the_file_of_the_queue() -> None:
    assert writers() == {"runs/engine/queue.py"}


def test_core_names_no_table_of_an_app() -> None:
    core = (ROOT / "platform_site" / "core").rglob("*.py")
    assert [
        str(file.relative_to(ROOT)) for file in core if re.search(r"\b(runs_run|runs_worker)\b", file.read_text())
    ] == []


def test_a_claim_is_constructed_in_one_place() -> None:
    found = [file for file in (ROOT / "runs").rglob("*.py") if re.search(r"(?<!class )\bClaim\(", file.read_text())]
    assert [str(file.relative_to(ROOT)) for file in found] == ["runs/engine/claim.py"]
