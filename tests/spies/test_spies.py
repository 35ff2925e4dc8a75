"""The spies see what they are there for, and believe what was looked for in the caller's workspace."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.default_workspace import ensure_first_start
from platform_site.access.models import Workspace
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient
from tests.api_client import api as api
from tests.live import CONTRACT_CONFIG, LiveServer
from tests.spies import threads
from tests.spies.exceptions import OF_TESTS, UNBOUND, UNBOUND_RAW
from tests.spies.raw_statements import is_bound
from tests.spies.shapes import key_columns, shape, tenant_tables
from tests.spies.statements import Caller, caller
from tests.spies.violations import CARRIERS, ROOT, Reports, report
from threads import services
from threads.models import Thread


@pytest.fixture
def somebody(db: None) -> Iterator[Caller]:
    """Who asks while a test runs."""
    who = Caller(ensure_first_start().pk)
    caller.set(who)
    yield who
    caller.set(None)


def made(who: Caller) -> Thread:
    """A thread that the request knows nothing of yet."""
    caller.set(None)
    thread = Thread.objects.create(workspace_id=who.workspace_id)
    caller.set(who)
    return thread


def is_busy(thread_id: UUID) -> bool:
    """What asks for a thread by its id alone."""
    return Thread.objects.filter(thread_id=thread_id, status="busy").exists()


def test_an_id_that_nobody_looked_for_is_reported(somebody: Caller, spies: Reports) -> None:
    is_busy(uuid4())
    [seen] = spies.new()
    assert "does not know" in seen


def test_a_statement_without_any_key_is_reported(somebody: Caller, spies: Reports) -> None:
    list(Thread.objects.filter(status="idle"))
    assert "names no workspace" in spies.new()[0]


@pytest.mark.parametrize("change", ["update", "delete"])
def test_changes_are_judged_like_reads(somebody: Caller, spies: Reports, change: str) -> None:
    found = Thread.objects.filter(thread_id=made(somebody).thread_id)
    if change == "update":
        found.update(title="theirs")
    else:
        found.delete()
    assert spies.new()


def test_an_id_that_was_found_in_the_workspace_is_believed(somebody: Caller, spies: Reports) -> None:
    thread = made(somebody)
    assert Thread.objects.filter(workspace_id=somebody.workspace_id, thread_id=thread.thread_id).exists()
    is_busy(thread.thread_id)
    assert spies.new() == []


def test_an_id_that_was_looked_for_in_vain_is_not_believed(somebody: Caller, spies: Reports) -> None:
    unknown = uuid4()
    assert not Thread.objects.filter(workspace_id=somebody.workspace_id, thread_id=unknown).exists()
    is_busy(unknown)
    assert len(spies.new()) == 1


def test_ids_in_rows_that_were_found_are_believed(somebody: Caller, spies: Reports) -> None:
    thread = made(somebody)
    list(Thread.objects.filter(workspace_id=somebody.workspace_id))
    is_busy(thread.thread_id)
    assert spies.new() == []


def test_what_the_request_made_is_believed(somebody: Caller, spies: Reports) -> None:
    thread = Thread.objects.create(workspace_id=somebody.workspace_id)
    is_busy(thread.thread_id)
    assert spies.new() == []


def test_another_workspace_than_the_callers_is_reported(somebody: Caller, spies: Reports) -> None:
    other = Workspace.objects.create(slug="other")
    list(Thread.objects.filter(workspace_id=other.pk))
    assert "names workspaces" in spies.new()[0]


def test_without_a_caller_nothing_is_judged(db: None, spies: Reports) -> None:
    is_busy(uuid4())
    assert spies.new() == []


async def test_a_request_has_a_caller(api: ApiClient, spies: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    # A service that has forgotten whose thread it is asked for.
    monkeypatch.setattr(services, "threads_visible", lambda principal: Thread.objects.all())
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    await api.patch(f"/threads/{thread}", json={"metadata": {}})
    seen = spies.new()
    assert seen
    assert all("threads/services.py:thread_patch" in violation for violation in seen)
    # No caller is left behind for what a test does next.
    await in_db(Thread.objects.count)
    assert spies.new() == []


def test_threads_and_workspaces_of_others_are_reported(spies: Reports) -> None:
    threads.own.set(threads.Place("mine", 1))
    try:
        threads.saw_thread("mine")
        threads.saw_workspace("1")
        assert spies.new() == []
        threads.saw_thread("theirs")
        threads.saw_workspace("2")
        assert len(spies.new()) == 2
    finally:
        threads.own.set(None)


async def test_a_saver_is_watched(spies: Reports, tmp_path: Path) -> None:
    from platform_site.core.checkpoints.sqlite.file import CheckpointFile
    from platform_site.core.checkpoints.sqlite.saver import GroupCommitSaver

    saver = GroupCommitSaver(CheckpointFile(tmp_path / "checkpoints.sqlite3"))
    threads.own.set(threads.Place("mine", 1))
    try:
        await saver.aget_tuple({"configurable": {"thread_id": "mine"}})
        assert spies.new() == []
        await saver.aget_tuple({"configurable": {"thread_id": "theirs"}})
        assert len(spies.new()) == 1
    finally:
        threads.own.set(None)


def test_the_files_of_savers_and_stores_are_watched(tmp_path: Path) -> None:
    """That an unbound statement is reported needs code of the product: see `is_bound` below."""
    for name in ("checkpoints.sqlite3", "store.sqlite3"):
        assert type(sqlite3.connect(tmp_path / name)) is not sqlite3.Connection
    assert type(sqlite3.connect(tmp_path / "other.sqlite3")) is sqlite3.Connection


@pytest.mark.parametrize(
    ("sql", "bound"),
    [
        ("SELECT * FROM checkpoints WHERE thread_id = ? AND checkpoint_id = ?", True),
        ("SELECT * FROM checkpoints WHERE checkpoint_id = ?", False),
        ("DELETE FROM writes", False),
        ("UPDATE checkpoint_writes SET blob = %s WHERE task_id = %s", False),
        ("SELECT value FROM store WHERE prefix = ? AND key = ?", True),
        ("SELECT value, prefix FROM store WHERE key = ?", False),
        ("DELETE FROM store_vectors", False),
        ("INSERT INTO checkpoints (thread_id) VALUES (?)", True),
    ],
)
def test_statements_of_savers_and_stores(sql: str, bound: bool) -> None:
    assert is_bound(sql) is bound


def test_all_that_belongs_to_workspaces_is_watched() -> None:
    tables = {"threads_thread", "runs_run", "runs_runspan", "assistants_assistantversion", "crons_crontick",
              "webhooks_webhookdelivery", "webhooks_webhookattempt", "access_apikey", "access_auditentry"}  # fmt: skip
    assert tables <= tenant_tables().keys()
    assert {"thread_id", "run_id", "assistant_id", "cron_id", "sequence", "delivery_id"} <= key_columns()


@pytest.mark.parametrize(
    ("sql", "keys", "workspaces"),
    [
        ('SELECT 1 FROM "threads_thread" WHERE "threads_thread"."thread_id" IN (%s, %s) AND status = %s', (0, 1), ()),
        ("UPDATE runs_run SET status = %s WHERE sequence = %s AND workspace_id = %s", (1,), (2,)),
        ("SELECT 1 FROM runs_run WHERE run_id = ANY(%s)", (0,), ()),
        ("DELETE FROM runs_run WHERE lease_owner = %s", (), ()),
    ],
)
def test_shapes_of_statements(sql: str, keys: Any, workspaces: Any) -> None:
    found = shape(sql)
    assert found is not None
    assert (found.keys, found.workspaces) == (keys, workspaces)


def test_started_servers_have_the_spies(start_server: Any, spies: Reports) -> None:
    server: LiveServer = start_server(CONTRACT_CONFIG)
    pid = server.process.pid if server.process is not None else 0
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"DJANGO_SETTINGS_MODULE=tests.spies.settings" in environment
    (spies.directory / "4711.txt").write_text("seen there\n")
    assert spies.new() == ["seen there (process 4711)"]
    server.stop()


def test_a_report_is_told_once(spies: Reports) -> None:
    report("something")
    assert spies.new() == ["something"]
    assert spies.new() == []


def test_what_the_spies_name_is_there() -> None:
    named = {name.partition(":") for name in [*UNBOUND, *UNBOUND_RAW, *OF_TESTS]}
    for file, _, function in named:
        assert re.search(rf"def {function}\(", (ROOT / file).read_text()), f"{file} has no {function}"
    assert all(Path(file).is_file() for file in CARRIERS)
