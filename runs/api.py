"""REST operations on runs: create, wait, stream, join, read, cancel, delete."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from ninja import Body, Router

from platform_site.core.database.access import in_db, read_db
from platform_site.core.errors import NotFound, Unprocessable
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN, Subscription
from platform_site.core.http.handler import ApiRequest, empty_response, json_response, path_uuid, stream_response
from platform_site.core.http.openapi import ANY_JSON, EVENTS, declared, header, query
from platform_site.core.ids import uuid7
from platform_site.core.wire import encode
from runs import cancel, schemas, selectors, services
from runs.configuration import webhooks_admit
from runs.engine import engine as run_engine
from runs.engine.removal import remove_run
from runs.models import RunStatus
from runs.services import CreatedRun
from runs.streaming.ended import EndedRun, LostRun
from runs.streaming.sse import follow, frame, until_closed

router = Router(tags=["runs"])

# What the documentation says of operations beyond their bodies.
_REFUSALS = (409, 429, 503, 507)
_CREATES = declared(errors=_REFUSALS)
_STREAMS = declared(errors=_REFUSALS, answers=EVENTS)
_WAITS = declared(errors=_REFUSALS, answers=ANY_JSON)
_ON_DISCONNECT = query("cancel_on_disconnect", "boolean", "Whether the run is cancelled when the client goes away.")
_LAST_EVENT_ID = header("Last-Event-ID", "Where to go on reading a resumable run; `-1` is its beginning.")
_STREAM_MODES = query("stream_mode", "string", "Only events of these modes; repeated, or separated by commas.")
_ACTION = query("action", {"type": "string", "enum": ["interrupt", "rollback"]}, "Rollback leaves no trace of the run.")
_LIST = (
    query("limit", {"type": "integer", "default": 10}),
    query("offset", {"type": "integer", "default": 0}),
    query("status", {"type": "string", "enum": RunStatus.values}),
    query("select", {"type": "array", "items": {"type": "string", "enum": list(selectors.SELECTABLE)}}),
)

# What clients send as `Last-Event-ID` for the beginning of a run.
_BEGINNINGS = ("-1", "0")
# How long the delete of a run that is in work waits until nothing of it is left; a synchronous node may take its time.
DELETE_PATIENCE_SECONDS = 5.0
RUN_NOT_FOUND = {"error": "HTTPException", "message": "404: Run not found"}
# Cancels on behalf of clients that went away; held here so that none is collected half-way.
_background: set[asyncio.Task[None]] = set()


async def _create(
    request: ApiRequest, thread_id: UUID | None, body: schemas.RunCreate, run_id: UUID | None = None
) -> CreatedRun:
    await webhooks_admit([body.webhook])
    create = partial(services.run_create, run_id=run_id)
    return await in_db(create, request.principal, thread_id, body, request.request_id, request.run_headers)


async def _create_followed(
    request: ApiRequest, thread_id: UUID | None, body: schemas.RunCreate, after: str | None
) -> tuple[CreatedRun, Subscription]:
    """A run, and a reader of its events who was there before it: it may end, and be forgotten, at once."""
    run_id = uuid7()
    subscription = event_log().subscribe(str(run_id), after)
    try:
        return await _create(request, thread_id, body, run_id), subscription
    except BaseException:
        event_log().withdraw(str(run_id))
        raise


def _path(thread_id: UUID | None, run_id: UUID) -> str:
    return f"/threads/{thread_id}/runs/{run_id}" if thread_id is not None else f"/runs/{run_id}"


def _locations(path: str, verb: str) -> dict[str, str]:
    """Where a client finds the run, and where it can go on listening."""
    return {"Location": f"{path}/{verb}", "Content-Location": path}


@router.post("/threads/{thread_id}/runs", response=schemas.Run, openapi_extra=_CREATES)
async def create(request: ApiRequest, thread_id: str, body: schemas.RunCreate) -> HttpResponse:
    """Begin a run on the thread and answer at once."""
    run = await _create(request, path_uuid(thread_id, "thread"), body)
    return json_response(run.body, headers={"Content-Location": _path(run.thread_id, run.run_id)})


@router.post("/runs", response=schemas.Run, openapi_extra=_CREATES)
async def create_stateless(request: ApiRequest, body: schemas.RunCreateStateless) -> HttpResponse:
    """Begin a run on a thread of its own and answer at once."""
    run = await _create(request, None, body)
    return json_response(run.body, headers={"Content-Location": _path(None, run.run_id)})


@router.post("/runs/batch", response=list[schemas.Run], openapi_extra=_CREATES)
async def create_batch(request: ApiRequest, body: Body[schemas.RunBatch]) -> HttpResponse:
    """Begin several runs, each on a thread of its own: all or none."""
    await webhooks_admit(run.webhook for run in body)
    runs = await in_db(services.runs_create, request.principal, body, request.request_id, request.run_headers)
    return json_response(b"[%b]" % b",".join(run.body for run in runs))


@router.post("/threads/{thread_id}/runs/stream", openapi_extra=_STREAMS)
async def stream(request: ApiRequest, thread_id: str, body: schemas.RunCreate) -> HttpResponseBase:
    """Begin a run on the thread and stream its events."""
    run, events = await _create_followed(request, path_uuid(thread_id, "thread"), body, BEGIN)
    return _stream_created(request, run, events, body, _path(run.thread_id, run.run_id))


@router.post("/runs/stream", openapi_extra=_STREAMS)
async def stream_stateless(request: ApiRequest, body: schemas.RunCreateStateless) -> HttpResponseBase:
    """Begin a run on a thread of its own and stream its events."""
    run, events = await _create_followed(request, None, body, BEGIN)
    return _stream_created(request, run, events, body, _path(None, run.run_id))


def _stream_created(
    request: ApiRequest, run: CreatedRun, subscription: Subscription, body: schemas.RunCreate, path: str
) -> HttpResponseBase:
    events = follow(subscription, with_ids=body.stream_resumable)
    if body.on_disconnect == "cancel":
        events = _cancelling(events, request, run.thread_id, run.run_id)
    return stream_response(events, headers=_locations(path, "stream"))


@router.post("/threads/{thread_id}/runs/wait", openapi_extra=_WAITS)
async def wait(request: ApiRequest, thread_id: str, body: schemas.RunCreate) -> HttpResponseBase:
    """Begin a run on the thread and answer with its final values. A failed run answers 200 with `__error__`."""
    return _wait_created(request, *await _create_followed(request, path_uuid(thread_id, "thread"), body, None), body)


@router.post("/runs/wait", openapi_extra=_WAITS)
async def wait_stateless(request: ApiRequest, body: schemas.RunCreateStateless) -> HttpResponseBase:
    """Begin a run on a thread of its own and answer with its final values, or with `__error__`."""
    return _wait_created(request, *await _create_followed(request, None, body, None), body)


def _wait_created(
    request: ApiRequest, run: CreatedRun, subscription: Subscription, body: schemas.RunCreate
) -> HttpResponseBase:
    answer = _outcome(subscription)
    if body.on_disconnect == "cancel":
        answer = _cancelling(answer, request, run.thread_id, run.run_id)
    return stream_response(answer, "application/json", _locations(_path(run.thread_id, run.run_id), "join"))


async def _outcome(subscription: Subscription) -> AsyncGenerator[bytes, None]:
    """The run's outcome as JSON once it ends; a line break now and then keeps the connection alive until then."""
    async with aclosing(until_closed(subscription)) as silences:
        async for line_break in silences:
            yield line_break
    yield subscription.outcome or encode({"__error__": RUN_NOT_FOUND})


async def _cancelling(
    chunks: AsyncGenerator[bytes, None], request: ApiRequest, thread_id: UUID, run_id: UUID
) -> AsyncGenerator[bytes, None]:
    """The same chunks; the run is cancelled if the client goes away before the last."""
    is_complete = False
    try:
        async for chunk in chunks:
            yield chunk
        is_complete = True
    finally:
        if not is_complete:
            task = asyncio.get_running_loop().create_task(_cancel_quietly(request, thread_id, run_id))
            _background.add(task)
            task.add_done_callback(_background.discard)


async def _cancel_quietly(request: ApiRequest, thread_id: UUID, run_id: UUID) -> None:
    try:
        await in_db(cancel.run_cancel, request.principal, thread_id, run_id)
    except NotFound:
        # It ended, or was deleted, before the cancel came.
        return


@router.get(
    "/threads/{thread_id}/runs",
    response=list[schemas.RunSelected],
    openapi_extra=declared(*_LIST, errors=(400,)),
)
async def list_runs(request: ApiRequest, thread_id: str) -> HttpResponse:
    """The thread's runs, the newest first."""
    query = request.GET
    runs = await read_db(
        selectors.run_list,
        request.principal,
        path_uuid(thread_id, "thread"),
        limit=selectors.page_number(query.get("limit"), 10),
        offset=selectors.page_number(query.get("offset"), 0),
        status=query.get("status"),
        select=query.getlist("select"),
    )
    return json_response(runs)


@router.get("/threads/{thread_id}/runs/{run_id}", response=schemas.Run)
async def get(request: ApiRequest, thread_id: str, run_id: str) -> HttpResponse:
    """One run."""
    ids = path_uuid(thread_id, "thread"), path_uuid(run_id, "run")
    return json_response(await read_db(selectors.run_get, request.principal, *ids))


@router.delete("/threads/{thread_id}/runs/{run_id}", response={204: None})
async def delete(request: ApiRequest, thread_id: str, run_id: str) -> HttpResponse:
    """Delete a run, its checkpoints, and what it wrote on earlier ones; if it runs it is stopped."""
    ids = path_uuid(thread_id, "thread"), path_uuid(run_id, "run")
    removal = await in_db(cancel.run_delete, request.principal, *ids)
    if removal is cancel.Removal.HIDDEN:
        await remove_run(request.principal.workspace_id, *ids)
    elif removal is cancel.Removal.HELD:
        await run_engine.engine().released(ids[1], DELETE_PATIENCE_SECONDS)
    return empty_response()


@router.get(
    "/threads/{thread_id}/runs/{run_id}/join",
    openapi_extra=declared(_ON_DISCONNECT, answers=ANY_JSON),
)
async def join(request: ApiRequest, thread_id: str, run_id: str) -> HttpResponseBase:
    """Wait for the end of a run; its final values, or `__error__`."""
    ids = path_uuid(thread_id, "thread"), path_uuid(run_id, "run")
    cancels = _cancels_on_disconnect(request)
    headers = _locations(_path(*ids), "join")
    # Subscribed before the look at the run: its end cannot fall between the two.
    subscription = event_log().subscribe(str(ids[1]), None)
    outcome = await read_db(selectors.run_outcome, request.principal, *ids)
    if outcome is None:
        return json_response(encode({"__error__": RUN_NOT_FOUND}), headers=headers)
    if outcome.is_finished:
        return json_response(outcome.body, headers=headers)
    answer = _outcome(subscription)
    if cancels:
        answer = _cancelling(answer, request, *ids)
    return stream_response(answer, "application/json", headers)


@router.get(
    "/threads/{thread_id}/runs/{run_id}/stream",
    openapi_extra=declared(_STREAM_MODES, _ON_DISCONNECT, _LAST_EVENT_ID, answers=EVENTS),
)
async def join_stream(request: ApiRequest, thread_id: str, run_id: str) -> HttpResponseBase:
    """Stream a run's events from now on; with `Last-Event-ID`, a resumable run's from there on."""
    ids = path_uuid(thread_id, "thread"), path_uuid(run_id, "run")
    cancels = _cancels_on_disconnect(request)
    headers = _locations(_path(*ids), "stream")
    # Before the look at the run, as in `join`; where to go on applies to resumable runs only.
    from_now, from_last = event_log().subscribe(str(ids[1]), None), _subscribed(request, str(ids[1]))
    outcome = await read_db(selectors.run_outcome, request.principal, *ids)
    if outcome is None:
        return stream_response(_error_event(RUN_NOT_FOUND), headers=headers)
    subscription = from_last if outcome.resumable else from_now
    if subscription is not None and outcome.is_finished and not await event_log().is_closed(str(ids[1])):
        subscription = _of_ended(subscription, request.headers.get("Last-Event-ID"), outcome)
    if subscription is None:
        return stream_response(_nothing(), headers=headers)
    modes = {mode for text in request.GET.getlist("stream_mode") for mode in text.split(",") if mode}
    events = follow(subscription, with_ids=outcome.resumable, only=_event_modes(modes) if modes else None)
    if cancels:
        events = _cancelling(events, request, *ids)
    return stream_response(events, headers=headers)


def _cancels_on_disconnect(request: ApiRequest) -> bool:
    """Return whether the run ends with the connection. Raise `Forbidden` at once for who may only read."""
    if not _flag(request, "cancel_on_disconnect"):
        return False
    cancel.check_cancel(request.principal)
    return True


def _subscribed(request: ApiRequest, run_id: str) -> Subscription | None:
    """A reader from where the client left off: from now on without `Last-Event-ID`. None for an id that is none."""
    last = request.headers.get("Last-Event-ID")
    if last is None:
        return event_log().subscribe(run_id, None)
    try:
        return event_log().subscribe(run_id, BEGIN if last in _BEGINNINGS else last)
    except ValueError:
        return None


def _of_ended(subscription: Subscription, last: str | None, outcome: selectors.RunOutcome) -> Subscription | None:
    """The reader of a run that has ended and whose log is not closed: it is about to be, or it is gone. None for one
    that has nothing to read."""
    if last is None or not outcome.resumable:
        return None
    after = None if last in _BEGINNINGS else last
    if outcome.has_just_ended:
        return EndedRun(subscription, after)
    return LostRun(after) if after is not None else None


def _event_modes(modes: set[str]) -> set[str]:
    return {"messages" if mode == "messages-tuple" else mode for mode in modes}


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


async def _error_event(body: dict[str, str]) -> AsyncGenerator[bytes, None]:
    yield frame("error", encode(body))


def _flag(request: ApiRequest, name: str) -> bool:
    return request.GET.get(name, "").lower() in ("true", "1")


@router.post(
    "/threads/{thread_id}/runs/{run_id}/cancel",
    response={202: None},
    openapi_extra=declared(query("wait", "boolean", "Answer when the run has ended."), _ACTION, answers=ANY_JSON),
)
async def cancel_run(request: ApiRequest, thread_id: str, run_id: str) -> HttpResponseBase:
    """Stop a run. `rollback` also removes the run and everything that it has written."""
    ids, action = (path_uuid(thread_id, "thread"), path_uuid(run_id, "run")), _action(request)
    subscription = event_log().subscribe(str(ids[1]), None)
    await in_db(cancel.run_cancel, request.principal, *ids, action)
    if not _flag(request, "wait"):
        return empty_response(202)
    return stream_response(_until_end(subscription), "application/json", _locations(_path(*ids), "join"))


def _action(request: ApiRequest) -> str:
    action: str = request.GET.get("action", "interrupt")
    if action not in ("interrupt", "rollback"):
        raise Unprocessable(f'"{action}" is not one of "interrupt" or "rollback"')
    return action


@router.post("/runs/cancel", response={204: None}, openapi_extra=declared(_ACTION, errors=(404,)))
async def cancel_runs(request: ApiRequest, body: schemas.RunsCancel) -> HttpResponse:
    """Stop the runs in flight that are named, or all with a status."""
    await cancel.runs_cancel(request.principal, body, _action(request))
    return empty_response()


async def _until_end(subscription: Subscription) -> AsyncGenerator[bytes, None]:
    async with aclosing(until_closed(subscription)) as silences:
        async for line_break in silences:
            yield line_break
    yield b"{}"
