"""REST operations on threads and their state."""

from django.http import HttpResponse
from ninja import Router

from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import encode_shown, in_db, read_db
from platform_site.core.errors import Unprocessable
from platform_site.core.hooks import state_posted
from platform_site.core.http.handler import ApiRequest, empty_response, json_response, path_uuid
from platform_site.core.http.openapi import declared, header, query
from platform_site.core.loops import graph_loop, state_loop
from platform_site.core.wire import encode
from threads import schemas, selectors, services
from threads.copying import thread_copy
from threads.editing import editing
from threads.head import head_of, thread_state_changed
from threads.messages import message_add, messages_list
from threads.pruning import threads_prune
from threads.reading import HistoryAsked, history_shown, state_shown
from threads.schemas import CheckpointRef
from threads.selectors import ThreadForState
from threads.state import state_wire
from threads.state_changes import state_update
from threads.supersteps import thread_create

router = Router(tags=["threads"])

# What the documentation says of operations beyond their bodies.
_CHANGES = declared(errors=(409, 503, 507))
_CREATE = declared(errors=(400, 409, 503, 507))
_PREFER = header("Prefer", "With `return=minimal` the answer is empty.")
_STATE = declared(
    query("subgraphs", "boolean", "Whether the states of interrupted subgraphs come along."),
    query("select", {"type": "array", "items": {"type": "string"}}, "Fields of the state, or `values.<key>`."),
    errors=(503,),
)
_INCLUDE = query("include", "string", "`ttl`: how long the thread lives, and until when.")
_HISTORY = declared(
    query("limit", {"type": "integer", "default": 1}),
    query("before", "string", "The id of a checkpoint: only older states."),
    errors=(503,),
)


@router.post("/threads", response={200: schemas.Thread, 201: schemas.Problem}, openapi_extra=_CREATE)
async def create(request: ApiRequest, body: schemas.ThreadCreate) -> HttpResponse:
    """Create a thread; `supersteps` give it a state from the start."""
    status, answer = await thread_create(request.principal, body)
    return json_response(answer, status)


@router.post("/threads/prune", response=schemas.ThreadPruned)
async def prune(request: ApiRequest, body: schemas.ThreadPrune) -> HttpResponse:
    """Delete threads, or keep only their latest state; how many there were."""
    count = await threads_prune(request.principal, body.thread_ids, strategy=body.strategy)
    return json_response(encode({"pruned_count": count}))


@router.post("/threads/search", response=list[schemas.ThreadSelected])
async def search(request: ApiRequest, body: schemas.ThreadSearch) -> HttpResponse:
    """Threads that match all that is given, the last updated first unless asked otherwise."""
    page = await read_db(selectors.thread_search, request.principal, body)
    return json_response(page.body, headers=page.headers)


@router.post("/threads/count", response=int)
async def count(request: ApiRequest, body: schemas.ThreadCount) -> HttpResponse:
    """How many threads match."""
    return json_response(encode(await read_db(selectors.thread_count, request.principal, body)))


@router.get("/threads/{thread_id}", response=schemas.Thread, openapi_extra=declared(_INCLUDE))
async def get(request: ApiRequest, thread_id: str) -> HttpResponse:
    """One thread."""
    own = path_uuid(thread_id, "thread")
    with_ttl = bool(_included(request))
    return json_response(await read_db(selectors.thread_get, request.principal, own, with_ttl=with_ttl))


@router.patch(
    "/threads/{thread_id}",
    response={200: schemas.Thread, 204: None},
    openapi_extra=declared(_PREFER),
)
async def patch(request: ApiRequest, thread_id: str, body: schemas.ThreadPatch) -> HttpResponse:
    """Merge metadata into the thread's own, key by key; change how long it lives."""
    thread = await in_db(services.thread_patch, request.principal, path_uuid(thread_id, "thread"), body)
    if "return=minimal" in request.headers.get("Prefer", ""):
        return empty_response()
    return json_response(thread)


@router.delete("/threads/{thread_id}", response={204: None})
async def delete(request: ApiRequest, thread_id: str) -> HttpResponse:
    """Delete a thread with its runs and its state; what runs on it is stopped."""
    await in_db(services.thread_delete, request.principal, path_uuid(thread_id, "thread"))
    return empty_response()


@router.post("/threads/{thread_id}/copy", response=schemas.ThreadCopied, openapi_extra=_CHANGES)
async def copy(request: ApiRequest, thread_id: str) -> HttpResponse:
    """A new thread with the metadata and every checkpoint of this one, without its runs."""
    return json_response(await thread_copy(request.principal, path_uuid(thread_id, "thread")))


@router.get("/threads/{thread_id}/storage", response=schemas.ThreadStorage)
async def storage(request: ApiRequest, thread_id: str) -> HttpResponse:
    """How many bytes the thread's checkpoints, channel values and pending writes take."""
    thread = await _thread(request, thread_id)
    measured = await state_loop().run(checkpoints().storage(thread.thread_id))
    await read_db(selectors.require_same, thread)
    return json_response(encode({"thread_id": thread.thread_id, **measured.wire()}))


@router.get("/threads/{thread_id}/messages", response=list[schemas.Message], openapi_extra=declared(errors=(503,)))
async def list_messages(request: ApiRequest, thread_id: str) -> HttpResponse:
    """The messages of the thread's state; before its first run, those that wait for it."""
    return json_response(encode_shown(await messages_list(request.principal, path_uuid(thread_id, "thread"))))


@router.post("/threads/{thread_id}/messages", response=schemas.Message, openapi_extra=_CHANGES)
async def add_message(request: ApiRequest, thread_id: str, body: schemas.MessageCreate) -> HttpResponse:
    """Append a message. On a thread that has never run it goes before the next run's input."""
    return json_response(encode(await message_add(request.principal, path_uuid(thread_id, "thread"), body)))


def _included(request: ApiRequest) -> set[str]:
    """What `include` names, repeated or separated by commas. Raises `Unprocessable` for what there is not."""
    wanted = {name for value in request.GET.getlist("include") for name in value.split(",") if name}
    if unknown := sorted(wanted - {"ttl"}):
        raise Unprocessable(f"Invalid include: {unknown}")
    return wanted


async def _thread(request: ApiRequest, thread_id: str) -> ThreadForState:
    return await read_db(selectors.thread_for_state, request.principal, path_uuid(thread_id, "thread"))


async def _state(
    request: ApiRequest,
    thread_id: str,
    ref: CheckpointRef | None,
    subgraphs: bool,
    select: list[str] | None,
) -> HttpResponse:
    own = path_uuid(thread_id, "thread")
    return json_response(await state_shown(request.principal, own, ref, subgraphs=subgraphs, select=select))


def _flag(request: ApiRequest, name: str) -> bool:
    return request.GET.get(name, "").lower() in ("true", "1")


@router.get("/threads/{thread_id}/state", response=schemas.ThreadStateSelected, openapi_extra=_STATE)
async def state(request: ApiRequest, thread_id: str) -> HttpResponse:
    """The latest state."""
    return await _state(request, thread_id, None, _flag(request, "subgraphs"), request.GET.getlist("select"))


@router.post("/threads/{thread_id}/state/checkpoint", response=schemas.ThreadStateSelected)
async def state_at_checkpoint(request: ApiRequest, thread_id: str, body: schemas.StateAtCheckpoint) -> HttpResponse:
    """The state at a checkpoint, also of a subgraph."""
    return await _state(request, thread_id, body.checkpoint, body.subgraphs, body.select)


@router.get(
    "/threads/{thread_id}/state/{checkpoint_id}",
    response=schemas.ThreadStateSelected,
    openapi_extra=_STATE,
)
async def state_at(request: ApiRequest, thread_id: str, checkpoint_id: str) -> HttpResponse:
    """The state at a checkpoint."""
    ref = CheckpointRef(checkpoint_id=checkpoint_id)
    return await _state(request, thread_id, ref, _flag(request, "subgraphs"), request.GET.getlist("select"))


@router.patch("/threads/{thread_id}/state", response=schemas.Thread)
async def patch_state(request: ApiRequest, thread_id: str, body: schemas.StatePatch) -> HttpResponse:
    """Only the oldest clients ask for this: it merges the thread's metadata."""
    thread = await _thread(request, thread_id)
    patched = schemas.ThreadPatch(metadata=body.metadata)
    return json_response(await in_db(services.thread_patch, request.principal, thread.thread_id, patched))


@router.post("/threads/{thread_id}/state", response=schemas.StateUpdated, openapi_extra=_CHANGES)
async def update_state(request: ApiRequest, thread_id: str, body: schemas.StateUpdate) -> HttpResponse:
    """Write a checkpoint as if a node had returned these values; with a checkpoint named, fork from there."""
    thread = await _thread(request, thread_id)
    ref = body.checkpoint
    if body.checkpoint_id and (ref is None or not ref.checkpoint_id):
        ref = CheckpointRef(checkpoint_id=body.checkpoint_id, checkpoint_ns=ref.checkpoint_ns if ref else None)
    async with editing(thread.workspace_id, thread.thread_id) as edit:
        changing = state_update(edit, thread, ref, body.values, body.as_node)
        configurable, head = await graph_loop().run(changing)
        await in_db(thread_state_changed, edit, head_of(head.snapshot, head.output))
    state_posted.send(thread.workspace_id, thread.thread_id, lambda: state_wire(head.snapshot))
    checkpoint = {key: configurable.get(key) for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}
    answer = {"checkpoint": checkpoint, "configurable": checkpoint, "checkpoint_id": checkpoint["checkpoint_id"]}
    return json_response(encode(answer))


@router.get("/threads/{thread_id}/history", response=list[schemas.ThreadState], openapi_extra=_HISTORY)
async def history(request: ApiRequest, thread_id: str) -> HttpResponse:
    """Past states, the newest first."""
    text = request.GET.get("limit", "1")
    if not text.removeprefix("-").isdecimal():
        raise Unprocessable(f"Invalid limit {text}")
    asked = HistoryAsked(limit=int(text[:10]), before=request.GET.get("before") or None)
    return json_response(await history_shown(request.principal, path_uuid(thread_id, "thread"), asked))


@router.post("/threads/{thread_id}/history", response=list[schemas.ThreadStateSelected])
async def search_history(request: ApiRequest, thread_id: str, body: schemas.HistorySearch) -> HttpResponse:
    """Past states, the newest first, by metadata, from a checkpoint on or before one."""
    asked = HistoryAsked(
        ref=body.checkpoint,
        limit=body.limit,
        before=_before(body.before),
        metadata=body.metadata,
        select=tuple(body.select or ()),
    )
    return json_response(await history_shown(request.principal, path_uuid(thread_id, "thread"), asked))


def _before(before: str | schemas.CheckpointOrConfig | None) -> str | None:
    """The checkpoint id in any of the three forms that clients send: bare, checkpoint object, configuration."""
    if before is None or isinstance(before, str):
        return before or None
    found = (before.configurable or before).checkpoint_id
    if found is None:
        raise Unprocessable("`before` must be a checkpoint id or an object that holds one")
    return found
