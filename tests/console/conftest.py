"""The cast of the page tests: an admin, a member, a viewer, and a stranger who is at home in another workspace."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from assistants.models import Assistant
from platform_site.access.models import Membership, Workspace
from platform_site.access.principal import Principal, Role
from platform_site.core.events.configured import event_log
from platform_site.core.items import configured
from platform_site.core.items.sqlite import open_sqlite_store
from platform_site.core.items.stores import LoopStores
from platform_site.core.loops import state_loop
from runs.models import PendingInterrupt, Run, RunStatus
from store.schemas import ItemPut
from store.services import item_put
from tests.store.backends import letters
from threads.models import Thread, ThreadStatus

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@dataclass
class Yard:
    """A workspace and short ways to put something into it."""

    workspace: Workspace
    now: datetime = field(default_factory=timezone.now)

    def person(self, name: str, role: Role | None = Role.MEMBER, **fields: Any) -> User:
        user = User.objects.create_user(name, password="secret", **fields)
        if role is not None:
            Membership.objects.create(workspace=self.workspace, user=user, role=role)
        return user

    def assistant(self, name: str = "Helper", **fields: Any) -> Assistant:
        return Assistant.objects.create(workspace=self.workspace, name=name, graph_id="helper", **fields)

    def thread(self, title: str = "A lamp", **fields: Any) -> Thread:
        return Thread.objects.create(workspace=self.workspace, title=title, **fields)

    def run(
        self,
        thread: Thread | None = None,
        status: str = RunStatus.SUCCESS,
        assistant: Assistant | None = None,
        **fields: Any,
    ) -> Run:
        """A run of an assistant; without one, of one that is deleted."""
        thread = thread or self.thread()
        fields["assistant_id"] = assistant.assistant_id if assistant else uuid4()
        fields.setdefault("created_at", self.now - timedelta(seconds=10))
        fields.setdefault("scheduled_at", fields["created_at"])
        if status != RunStatus.PENDING:
            fields.setdefault("attempt", 1)
            fields.setdefault("started_at", fields["created_at"] + timedelta(seconds=1))
        if status not in (RunStatus.PENDING, RunStatus.RUNNING):
            fields.setdefault("finished_at", fields["started_at"] + timedelta(seconds=3))
        return Run.objects.create(workspace=self.workspace, thread=thread, status=status, **fields)

    def stopped(self, run: Run, *nodes: str) -> Run:
        """The run as one that a breakpoint has stopped before these nodes."""
        Thread.objects.filter(pk=run.thread_id).update(status=ThreadStatus.INTERRUPTED)
        Run.objects.filter(pk=run.pk).update(stopped_before=list(nodes))
        run.refresh_from_db()
        return run

    def question(self, run: Run, value: Any = "Go on?", **fields: Any) -> PendingInterrupt:
        Thread.objects.filter(pk=run.thread_id).update(status=ThreadStatus.INTERRUPTED)
        return PendingInterrupt.objects.create(
            workspace=self.workspace, thread=run.thread, run_id=run.run_id, assistant_id=run.assistant_id, value=value,
            node="review", interrupt_id=uuid4().hex, task_id=uuid4().hex, **fields,
        )  # fmt: skip


@pytest.fixture
def yard(db: None) -> Yard:
    return Yard(Workspace.objects.create(slug="harbour", name="Harbour Support"))


@pytest.fixture
def elsewhere(db: None) -> Yard:
    return Yard(Workspace.objects.create(slug="elsewhere", name="Elsewhere"))


@pytest.fixture
def nobody() -> Client:
    """Somebody who is not signed in."""
    return Client()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin(yard: Yard) -> Client:
    return signed_in(yard.person("ada", Role.ADMIN, is_staff=True, is_superuser=True))


@pytest.fixture
def member(yard: Yard) -> Client:
    return signed_in(yard.person("mara", Role.MEMBER, first_name="Mara", last_name="Lindqvist"))


@pytest.fixture
def viewer(yard: Yard) -> Client:
    return signed_in(yard.person("vera", Role.VIEWER))


@pytest.fixture
def stranger(elsewhere: Yard) -> Client:
    return signed_in(elsewhere.person("stan"))


@pytest.fixture
def recorded() -> Iterator[Callable[..., str]]:
    """Append events to a run's log: `recorded(run, ("values", b"{}"), ..., close=True)`."""
    logs: list[str] = []

    def record(run: Run, *events: tuple[str, bytes], close: bool = False) -> str:
        name = str(run.run_id)
        logs.append(name)
        for event, data in events:
            event_log().append(name, event, data)
        if close:
            event_log().close(name, b"null")
        return name

    yield record
    for name in logs:
        event_log().discard(name)


@pytest.fixture
def put(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put an item: `put("users.ada", "settings", {"dark": True})`."""
    opened = LoopStores(lambda: open_sqlite_store(tmp_path / "store.sqlite3", letters()))
    monkeypatch.setattr(configured, "loop_stores", lambda: opened)

    def put(namespace: str, key: str, value: dict[str, Any] | None = None, of: Yard = yard, **fields: Any) -> None:
        body = ItemPut(namespace=namespace.split("."), key=key, value=value or {"key": key}, **fields)
        async_to_sync(item_put)(Principal(of.workspace.pk), body)

    yield put
    state_loop().submit(opened.close_current()).result()
