"""The stream of a run's events to its page."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from django.utils import timezone

from platform_site.core.events.configured import event_log
from runs.models import Run, RunStatus
from tests.console.conftest import Yard

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running(yard: Yard) -> Run:
    return yard.run(status=RunStatus.RUNNING)


@pytest.fixture
def mara(yard: Yard) -> AsyncClient:
    client = AsyncClient()
    client.force_login(yard.person("mara"))
    return client


def ended(run: Run) -> None:
    """The run ends as the engine does it: the row first, then the log."""
    Run.objects.filter(pk=run.pk).update(status=RunStatus.SUCCESS, finished_at=timezone.now())
    event_log().close(str(run.run_id), b"null")


async def read(answer) -> str:
    return "".join([part.decode() async for part in answer.streaming_content])


async def test_what_was_recorded_comes_as_rows_and_then_the_end(running, mara, recorded):
    recorded(running, ("metadata", b'{"attempt":1}'), ("updates", b'{"triage":{"kind":"<b>"}}'))
    await sync_to_async(ended)(running)
    answer = await mara.get(f"/dashboard/runs/{running.run_id}/events")
    assert answer["Content-Type"].startswith("text/event-stream")
    assert answer["Cache-Control"] == "no-store"
    text = await read(answer)
    assert text.startswith(": connected")
    assert text.count("event: rows") == 1
    assert "triage" in text
    assert "&lt;b&gt;" in text
    assert text.endswith("event: end\ndata: end\n\n")


async def test_events_come_while_the_run_goes_on(running, mara, recorded):
    name = recorded(running, ("custom", b'"one"'))
    answer = await mara.get(f"/dashboard/runs/{running.run_id}/events")
    stream = aiter(answer.streaming_content)
    await anext(stream)
    assert b"one" in await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    event_log().append(name, "custom", b'"two"')
    assert b"two" in await waiting
    await sync_to_async(ended)(running)
    assert b"event: end" in await anext(stream)


async def test_a_log_that_ends_before_its_run_makes_the_browser_come_back(running, mara, recorded):
    recorded(running, ("custom", b'"one"'), close=True)
    text = await read(await mara.get(f"/dashboard/runs/{running.run_id}/events"))
    assert "one" in text
    assert "event: end" not in text


async def test_a_run_that_was_deleted_meanwhile_is_over(running, mara, recorded):
    recorded(running)
    answer = await mara.get(f"/dashboard/runs/{running.run_id}/events")
    await sync_to_async(running.delete)()
    event_log().discard(str(running.run_id))
    assert "event: end" in await read(answer)


async def test_silence_is_filled_with_heartbeats(running, mara, recorded, settings):
    settings.STREAM_HEARTBEAT_SECONDS = 0.01
    name = recorded(running)
    answer = await mara.get(f"/dashboard/runs/{running.run_id}/events")
    stream = aiter(answer.streaming_content)
    await anext(stream)
    assert await anext(stream) == b": heartbeat\n\n"
    event_log().close(name, b"null")


async def test_a_reader_that_comes_back_gets_only_what_is_new(running, mara, recorded):
    recorded(running, ("custom", b'"one"'), ("custom", b'"two"'), close=True)
    async with event_log().subscribe(str(running.run_id), "0") as subscription:
        batch = await subscription.batch(1)
        assert batch
        first = batch[0].id
    path = f"/dashboard/runs/{running.run_id}/events"
    for answer in (await mara.get(path, headers={"Last-Event-ID": first}), await mara.get(path, {"after": first})):
        text = await read(answer)
        assert "one" not in text
        assert "two" in text


async def test_a_garbled_position_starts_from_the_beginning(running, mara, recorded):
    recorded(running, ("custom", b'"one"'), close=True)
    answer = await mara.get(f"/dashboard/runs/{running.run_id}/events", {"after": "garbage"})
    assert "one" in await read(answer)


async def test_a_run_whose_log_is_gone_ends_at_once(yard, mara):
    run = await sync_to_async(yard.run)(finished_at=yard.now - timedelta(hours=1))
    assert (await read(await mara.get(f"/dashboard/runs/{run.run_id}/events"))).endswith("event: end\ndata: end\n\n")


async def test_strangers_and_those_signed_out_get_nothing(running, elsewhere):
    path = f"/dashboard/runs/{running.run_id}/events"
    assert (await AsyncClient().get(path)).status_code == 404
    stan = AsyncClient()
    await sync_to_async(stan.force_login)(await sync_to_async(elsewhere.person)("stan"))
    assert (await stan.get(path)).status_code == 404


async def test_an_unknown_run_is_404(mara):
    assert (await mara.get(f"/dashboard/runs/{uuid4()}/events")).status_code == 404


async def test_a_reader_that_was_overtaken_sees_the_gap_and_what_follows(running, mara, recorded, monkeypatch):
    monkeypatch.setattr(event_log(), "_max_bytes", 2000)
    name = recorded(running, ("custom", b'"one"'))
    answer = await mara.get(f"/dashboard/runs/{running.run_id}/events")
    stream = aiter(answer.streaming_content)
    await anext(stream)
    assert b"one" in await anext(stream)
    for number in range(30):
        event_log().append(name, "custom", b'"event %d"' % number)
    gap, rest = await anext(stream), await anext(stream)
    assert b"Some events of this run are not kept any more." in gap
    assert b"event 29" in rest
    assert b"event 1&" not in rest
    event_log().close(name, b"null")


async def test_a_reader_that_comes_back_too_late_sees_the_gap(running, mara, recorded, monkeypatch):
    monkeypatch.setattr(event_log(), "_max_bytes", 2000)
    recorded(running, *[("custom", b'"event %d"' % number) for number in range(30)], close=True)
    text = await read(await mara.get(f"/dashboard/runs/{running.run_id}/events", headers={"Last-Event-ID": "1-0"}))
    assert text.count("not kept any more") == 1
    assert "event 29" in text
