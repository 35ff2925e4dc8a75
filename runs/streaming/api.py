"""The stream of a thread over REST."""

from django.http import HttpResponseBase
from ninja import Router

from platform_site.core.http.handler import ApiRequest, path_uuid, stream_response
from platform_site.core.http.openapi import EVENTS, declared, header, query
from runs.streaming.sse import follow
from runs.streaming.thread_stream import MODES, ThreadEvents, Wanted

router = Router(tags=["runs"])

_MODES = {"type": "array", "items": {"type": "string", "enum": list(MODES)}}


@router.get(
    "/threads/{thread_id}/stream",
    openapi_extra=declared(
        query("stream_modes", _MODES, "What to stream, `run_modes` if absent; repeated, or separated by commas."),
        query("stream_mode", _MODES, "The same."),
        header("Last-Event-ID", "Where to go on; `-` is the beginning of the resumable runs that are still kept."),
        answers=EVENTS,
    ),
)
async def thread_stream(request: ApiRequest, thread_id: str) -> HttpResponseBase:
    """Stream all runs of a thread, those to come included."""
    thread = path_uuid(thread_id, "thread")
    texts = request.GET.getlist("stream_modes") + request.GET.getlist("stream_mode")
    wanted = Wanted(mode.strip() for text in texts for mode in text.split(",") if mode.strip())
    events = ThreadEvents(request.principal.workspace_id, thread, request.headers.get("Last-Event-ID") or None)
    # Before the answer begins: a client that has seen its head hears every run that it starts then.
    await events.locate()
    return stream_response(follow(events, with_ids=True, only=wanted))
