"""Threads that begin with a state: created, and then led through supersteps as if nodes had returned their values."""

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db, read_db
from platform_site.core.errors import ApiError
from platform_site.core.loops import graph_loop
from platform_site.core.wire import encode
from threads.editing import editing
from threads.head import head_of, thread_state_changed
from threads.schemas import ThreadCreate
from threads.selectors import thread_for_state, thread_get
from threads.services import MadeThread, delete_threads, thread_make
from threads.state import require_graph
from threads.state_changes import state_bulk_update


async def thread_create(principal: Principal, body: ThreadCreate) -> tuple[int, bytes]:
    """Create a thread, in the state that its supersteps lead to; status and JSON of the answer.

    A thread without a graph is made all the same: 201, and what was wrong. Any other fault of the supersteps leaves no
    thread behind. Raises `Conflict`, `BadRequest` and what `thread_make` raises.
    """
    made: MadeThread = await in_db(thread_make, principal, body)
    if not body.supersteps or not made.is_new:
        return 200, made.body
    thread = await read_db(thread_for_state, principal, made.thread_id)
    try:
        require_graph(thread)
    except ApiError as error:
        problem = f"Thread {made.thread_id} was created, but there were problems updating the state: {error.detail}"
        return 201, encode({"detail": problem})
    try:
        async with editing(principal.workspace_id, made.thread_id) as edit:
            head = await graph_loop().run(state_bulk_update(edit, thread, body.supersteps))
            await in_db(thread_state_changed, edit, head_of(head.snapshot, head.output))
    except BaseException:
        await in_db(delete_threads, [made.thread_id], workspace_id=principal.workspace_id)
        raise
    return 200, await read_db(thread_get, principal, made.thread_id, with_ttl=body.ttl.is_given)
