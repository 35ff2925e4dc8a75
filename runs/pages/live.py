"""The events of a run as a stream of server-sent HTML rows, for the run page."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from platform_site.console.shell import enter
from platform_site.core.database.access import read_db
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN, EventsLost, Subscription
from runs.models import FINISHED, Run
from runs.pages.browse import find_run
from runs.pages.event_rows import LOST, EventRows
from runs.selectors import JUST_ENDED

# Rows are gathered this long: a browser draws ten times a second with ease, ten thousand times not.
GATHER_SECONDS = 0.1


async def run_events(request: HttpRequest, run_id: UUID) -> HttpResponseBase:
    """The run's events from the beginning, then live; `end` comes when nothing more will. 404 for who may not see it.

    A reader that comes back says with `Last-Event-ID` or `?after=` what it has.
    """
    run = await sync_to_async(_visible_run)(request, run_id)
    if run is None:
        return HttpResponse(status=404)
    return StreamingHttpResponse(
        _stream(run, request.headers.get("Last-Event-ID") or request.GET.get("after") or BEGIN),
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _visible_run(request: HttpRequest, run_id: UUID) -> Run | None:
    """The run, if whoever is signed in may see it; the connection does not stay open for the stream."""
    try:
        if not request.user.is_authenticated or not enter(request):
            return None
        return find_run(request.principal, run_id)  # type: ignore[attr-defined]
    finally:
        for connection in connections.all(initialized_only=True):
            # Inside a transaction there is no stream to come: it is a test's.
            if not connection.in_atomic_block:
                connection.close()


async def _stream(run: Run, after: str) -> AsyncIterator[str]:
    # The first byte goes out at once: the browser then knows that it is connected.
    yield ": connected\n\n"
    # A cancelled run reads so at once, but its attempt still has to stop.
    finished = run.status in FINISHED and run.lease_owner is None
    if not finished or await _may_have_log(run):
        try:
            subscription = event_log().subscribe(str(run.run_id), after)
        except ValueError:
            subscription = event_log().subscribe(str(run.run_id), BEGIN)
        async for chunk in _rows(run, subscription, finished):
            yield chunk
    # Without an end the browser comes back: a server that drains closes its streams, but the run goes on elsewhere.
    if finished or await read_db(_is_over, run.run_id):
        yield "event: end\ndata: end\n\n"


def _is_over(run_id: UUID) -> bool:
    return not Run.objects.filter(run_id=run_id).exclude(status__in=FINISHED, lease_owner=None).exists()


async def _may_have_log(run: Run) -> bool:
    """Whether a finished run's log is still there, or is just about to be closed."""
    just_ended = run.finished_at is not None and timezone.now() - run.finished_at < JUST_ENDED
    return just_ended or await event_log().is_closed(str(run.run_id))


async def _rows(run: Run, subscription: Subscription, finished: bool) -> AsyncIterator[str]:
    rows = EventRows(int((run.started_at or run.created_at).timestamp() * 1000))
    async with subscription:
        while True:
            try:
                events = await subscription.batch(settings.STREAM_HEARTBEAT_SECONDS)
            except EventsLost:
                # A person sees the gap, and everything behind it.
                yield f"event: rows\ndata: {LOST}\n\n"
                continue
            if events is None:
                return
            if events:
                # Also a batch without a row of its own tells how far the reader has come.
                yield f"id: {events[-1].id}\nevent: rows\ndata: {rows.batch(events)}\n\n"
                await asyncio.sleep(GATHER_SECONDS)
            elif finished or await read_db(_is_over, run.run_id):
                # The log of a run that had ended is silent: it went with a restart, or before it was listened to.
                return
            else:
                yield ": heartbeat\n\n"
