"""Messages by themselves: appended to a thread before any graph was chosen for it, or to the state of one that ran.

A thread without a graph keeps them in its row. The next run takes them along in the transaction that creates it: they
are part of its input from then on, in front of what the run was given. A run that is undone leaves them waiting again.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone
from langchain_core.messages import BaseMessage, convert_to_messages

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db, read_db
from platform_site.core.hooks import state_posted
from platform_site.core.loops import graph_loop, state_loop
from platform_site.core.quotas import require_free_disk, require_kept_size
from threads.editing import editing
from threads.head import head_of, thread_state_changed
from threads.models import Thread
from threads.schemas import MessageCreate
from threads.selectors import ThreadForState, require_same, thread_for_state, thread_not_found, threads_visible
from threads.state import HeadState, head_of_thread, state_wire
from threads.state_changes import messages_append

Message = dict[str, Any]
_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "function"}


async def messages_list(principal: Principal, thread_id: UUID) -> list[Message]:
    """The thread's messages, oldest first: those of its state, then those that wait for a run. Raises `NotFound`."""
    thread = await read_db(thread_for_state, principal, thread_id)
    waiting = await read_db(_kept, principal, thread_id)
    head = await state_loop().run(head_of_thread(thread))
    await read_db(require_same, thread)
    held = [] if head is None else [*_held(head.snapshot.values), *_refused(head)]
    return [_wire(message) for message in [*held, *map(_read, waiting)]]


def _held(values: Any) -> list[Any]:
    messages = values.get("messages") if isinstance(values, Mapping) else None
    return messages if isinstance(messages, list) else []


def _refused(head: HeadState) -> list[Any]:
    """Return the messages that were sent and that the graph cannot take into its state, as they were sent."""
    tasks = head.snapshot.tasks if head.refuses_writes else ()
    return [message for task in tasks for message in _held(task.result)]


def _read(message: Message) -> Any:
    """Return the message as LangChain reads it, or as it is where LangChain cannot read it."""
    try:
        return convert_to_messages([message])[0]
    except (ValueError, TypeError, LookupError, NotImplementedError):
        return message


async def message_add(principal: Principal, thread_id: UUID, body: MessageCreate) -> Message:
    """Append a message; it, as a list shows it.

    Raises `NotFound`, `Conflict` on a busy thread, `BadRequest` where the thread's graph has no messages, `TooLarge`
    where more wait for a run than one could be given, and `InsufficientStorage` if the disk is nearly full.
    """
    require_free_disk()
    message = {"role": body.role, "content": body.content, "id": str(uuid4())}
    if not await in_db(_keep, principal, thread_id, message):
        await _append(principal, await read_db(thread_for_state, principal, thread_id), message)
    return _wire(_read(message))


def _kept(principal: Principal, thread_id: UUID) -> list[Message]:
    kept = threads_visible(principal).filter(thread_id=thread_id).values_list("messages", flat=True).first()
    return kept or []


def _keep(principal: Principal, thread_id: UUID, message: Message) -> bool:
    """Keep the message on the row; False if it belongs into the state of a graph."""
    with transaction.atomic():
        thread = threads_visible(principal).select_for_update().filter(thread_id=thread_id).first()
        if thread is None:
            raise thread_not_found(thread_id)
        if isinstance(thread.metadata.get("graph_id"), str) and not thread.messages:
            return False
        thread.messages = [*(thread.messages or []), message]
        require_kept_size("The messages that wait for a run", thread.messages)
        thread.updated_at = timezone.now()
        thread.save(update_fields=["messages", "updated_at"])
    return True


async def _append(principal: Principal, thread: ThreadForState, message: Message) -> None:
    async with editing(thread.workspace_id, thread.thread_id) as edit:
        head = await graph_loop().run(messages_append(edit, thread, [message]))
        await in_db(thread_state_changed, edit, head_of(head.snapshot, head.output))
    state_posted.send(thread.workspace_id, thread.thread_id, lambda: state_wire(head.snapshot))


def _wire(message: Any) -> Message:
    """A message as the state shows it, and who speaks in the words of the request."""
    if not isinstance(message, BaseMessage):
        # A state that is not made of LangChain's messages: as it is.
        plain = message if isinstance(message, dict) else {"content": message}
        role = str(plain.get("role") or plain.get("type") or "other")
        return {"id": None, "type": role, "role": role, "content": None, **plain}
    return {**message.model_dump(), "role": _ROLES.get(message.type, message.type)}


def with_kept_messages(payload: Any, kept: list[Message]) -> Any | None:
    """A run's input with the kept messages in front of its own; None if that input has no place for messages."""
    if payload is None:
        return {"messages": kept}
    if not isinstance(payload, dict):
        return None
    own = payload.get("messages")
    return {**payload, "messages": [*kept, *(own if isinstance(own, list) else [] if own is None else [own])]}


def messages_put_back(thread_id: UUID, kwargs: dict[str, Any]) -> None:
    """Let the messages that a run took along wait again, before any newer ones: the run has left no trace.

    `kwargs` are the run's. In the transaction of the caller, which has locked the thread.
    """
    count = kwargs.get("kept_messages", 0)
    if not count:
        return
    thread = Thread.objects.get(pk=thread_id)
    thread.messages = [*kwargs["input"]["messages"][:count], *(thread.messages or [])]
    thread.save(update_fields=["messages"])
