"""What runs announce to the layers above them, and what they ask, by `runs/hooks.py`."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection

from platform_site.access.principal import Principal
from platform_site.core.errors import Unprocessable
from runs import hooks
from runs.cancel import run_cancel, run_delete
from runs.configuration import webhooks_admit
from runs.engine.endings import Ending
from runs.engine.finish import finish
from runs.hooks import RunEnd
from runs.models import Run, RunStatus
from tests.api_client import ApiClient
from tests.runs.conftest import claim, create
from tests.runs.engine.test_finish import head

URL = "https://8.8.8.8/hook"
Ends = list[tuple[Run, RunEnd, datetime]]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Connect this receiver, and no other, to a hook of runs."""

    def connect(name: str, receiver: Any) -> None:
        monkeypatch.setattr(getattr(hooks, name), "_receivers", [receiver])

    return connect


@pytest.fixture
def ends(only: Any) -> Ends:
    """The ends that are announced; each must come inside a transaction."""
    seen: Ends = []

    def note(run: Run, end: RunEnd, now: datetime) -> None:
        assert connection.in_atomic_block
        seen.append((run, end, now))

    only("run_ended", note)
    return seen


def test_the_end_of_a_run_is_announced_with_its_row_as_it_was(principal: Principal, ends: Ends) -> None:
    run = create(principal, webhook=URL)
    finish(claim(run), Ending(RunStatus.SUCCESS, head=head()), None)
    [(told, end, now)] = ends
    assert (told.run_id, told.status) == (run.run_id, RunStatus.RUNNING)
    assert end.status is RunStatus.SUCCESS
    run.refresh_from_db()
    assert run.finished_at == now


def test_the_end_of_a_run_without_a_webhook_is_not(principal: Principal, ends: Ends) -> None:
    finish(claim(create(principal)), Ending(RunStatus.SUCCESS, head=head()), None)
    waiting = create(principal)
    run_cancel(principal, waiting.thread_id, waiting.run_id)
    assert ends == []


def test_the_end_of_a_run_that_never_began_is_announced(principal: Principal, ends: Ends) -> None:
    run = create(principal, webhook=URL)
    run_cancel(principal, run.thread_id, run.run_id)
    [(told, end, _)] = ends
    assert (told.run_id, end.status) == (run.run_id, RunStatus.INTERRUPTED)


def test_a_run_that_is_deleted_before_its_end_announces_none(principal: Principal, ends: Ends) -> None:
    run = create(principal, webhook=URL)
    claimed = claim(run)
    run_delete(principal, run.thread_id, run.run_id)
    finish(claimed, Ending(RunStatus.INTERRUPTED, rollback=True), None)
    assert not Run.objects.exists()
    assert ends == []


def test_a_receiver_that_fails_takes_the_end_back(principal: Principal, only: Any) -> None:
    def fail(run: Run, end: RunEnd, now: datetime) -> None:
        raise OSError("no room")

    only("run_ended", fail)
    run = create(principal, webhook=URL)
    with pytest.raises(OSError, match="no room"):
        finish(claim(run), Ending(RunStatus.SUCCESS, head=head()), None)
    run.refresh_from_db()
    assert (run.status, run.finished_at) == (RunStatus.RUNNING, None)


@pytest.mark.parametrize("state", ["waits", "works", "ended", "cancelled"])
def test_the_delete_of_a_run_is_announced_in_every_state(principal: Principal, only: Any, state: str) -> None:
    told = []
    only("run_deleting", lambda run: told.append((run.run_id, run.kwargs["webhook"], connection.in_atomic_block)))
    run = create(principal, webhook=URL)
    if state in ("works", "ended"):
        claimed = claim(run)
        if state == "ended":
            finish(claimed, Ending(RunStatus.SUCCESS, head=head()), None)
    elif state == "cancelled":
        run_cancel(principal, run.thread_id, run.run_id)
    run_delete(principal, run.thread_id, run.run_id)
    assert told == [(run.run_id, URL, True)]


async def test_a_layer_above_may_refuse_a_webhook_by_its_text(principal: Principal, only: Any, api: ApiClient) -> None:
    def refuse(url: str) -> None:
        raise Unprocessable(f"not {url}")

    async def pass_on(url: str) -> None: ...

    only("webhook_checking", refuse)
    only("webhook_admitting", pass_on)
    answer = await api.post("/runs", json={"assistant_id": "log", "webhook": URL})
    assert (answer.status_code, answer.json()) == (422, {"detail": f"not {URL}"})
    cron = {"assistant_id": "log", "schedule": "@daily", "webhook": URL}
    assert (await api.post("/runs/crons", json=cron)).json() == {"detail": f"not {URL}"}


async def test_a_layer_above_may_refuse_a_webhook_before_the_database_is_asked(only: Any) -> None:
    asked = []

    async def refuse(url: str) -> None:
        asked.append(url)
        if url == URL:
            raise Unprocessable("not there")

    only("webhook_admitting", refuse)
    with pytest.raises(Unprocessable, match="not there"):
        await webhooks_admit([None, "/ok", "/ok", URL, "/never"])
    assert asked == ["/ok", URL]


def test_nobody_is_asked_about_a_run_without_a_webhook(principal: Principal, only: Any) -> None:
    asked: list[str] = []
    only("webhook_checking", asked.append)
    create(principal)
    assert asked == []
