"""Writes of threads."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.background.tasks import background
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import IS_POSTGRES, Portion, json_param, moment_param, uuid_param
from platform_site.core.errors import Conflict, NotFound
from platform_site.core.hooks import threads_deleting, threads_purging
from platform_site.core.ids import uuid7
from platform_site.core.quotas import Quota, require_free_disk, require_kept_size
from platform_site.core.wire import encode, timestamp
from threads.models import Thread, ThreadTombstone
from threads.schemas import ThreadCreate, ThreadPatch
from threads.selectors import thread_get, thread_not_found, threads_visible
from threads.time_to_live import time_to_live, ttl_of, ttl_params, ttl_wire

TITLE_LENGTH = 80
# Threads that are deleted together, and rows that are deleted in one transaction.
BATCH = 100
PORTION = 2000
# The background task that finishes deletes.
DELETES = "removals"


@dataclass(frozen=True)
class MadeThread:
    """A thread and its JSON; not new if it was there and `if_exists` allowed that."""

    thread_id: UUID
    is_new: bool
    body: bytes


def _count_threads(workspace_id: int, limit: int) -> int:
    return Thread.objects.filter(workspace_id=workspace_id, ephemeral=False).order_by()[:limit].count()


_threads = Quota(_count_threads)


def require_thread_quota(workspace_id: int) -> None:
    """Raise `Conflict` if the workspace has as many threads as it may have."""
    if not _threads.take(workspace_id, settings.MAX_THREADS):
        raise Conflict(f"The workspace has {settings.MAX_THREADS} threads, as many as it may have (MAX_THREADS)")


def thread_make(principal: Principal, body: ThreadCreate) -> MadeThread:
    """Make a thread without a state.

    Raises `Conflict` if the id is taken and `if_exists` is `raise`, or if the workspace has as many as it may have, and
    `InsufficientStorage` if the disk is nearly full.
    """
    require_free_disk()
    ttl = time_to_live(body.ttl, None)
    thread_id = body.thread_id or uuid7()
    if body.thread_id:
        make_room_for(thread_id)
    # One that is there already is found, also by a workspace that may have no more.
    may_be_there = bool(settings.MAX_THREADS and body.thread_id)
    if not (may_be_there and threads_visible(principal).filter(pk=thread_id).exists()):
        require_thread_quota(principal.workspace_id)
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO threads_thread (thread_id, workspace_id, title, status, metadata, config, ephemeral, "
            "ttl_minutes, ttl_strategy, expires_at, created_at, updated_at, state_updated_at) "
            "VALUES (%s, %s, '', 'idle', %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (thread_id) DO NOTHING",
            [
                uuid_param(thread_id),
                principal.workspace_id,
                json_param(body.metadata),
                json_param({}),
                False,
                *ttl_params(ttl, now),
                *[moment_param(now)] * 3,
            ],
        )
        is_new = bool(cursor.rowcount)
    if not is_new:
        if body.if_exists == "raise" or not threads_visible(principal).filter(thread_id=thread_id).exists():
            raise Conflict(f"Thread with ID {thread_id} already exists")
        return MadeThread(thread_id, False, thread_get(principal, thread_id, with_ttl=body.ttl.is_given))
    made = timestamp(now)
    wire: dict[str, Any] = {
        "thread_id": thread_id,
        "created_at": made,
        "updated_at": made,
        "state_updated_at": made,
        "metadata": body.metadata,
        "status": "idle",
        "config": {},
        "values": None,
    }
    if body.ttl.is_given:
        wire["ttl"] = None if ttl is None else ttl_wire(ttl, ttl.end(now))
    return MadeThread(thread_id, True, encode(wire))


def thread_patch(principal: Principal, thread_id: UUID, body: ThreadPatch) -> bytes:
    """Merge metadata, top level only, change how long it lives, and give the thread as JSON.

    Raises `NotFound`, `Unprocessable` for a strategy without a time, `TooLarge` for metadata that have grown too large,
    and `InsufficientStorage` for metadata if the disk is nearly full.
    """
    if body.metadata:
        require_free_disk()
    with transaction.atomic():
        thread = threads_visible(principal).select_for_update().filter(thread_id=thread_id).first()
        if thread is None:
            raise NotFound("Not Found")
        thread.metadata = {**thread.metadata, **body.metadata}
        require_kept_size("The metadata of the thread", thread.metadata)
        thread.updated_at = timezone.now()
        changed = ["metadata", "updated_at"]
        if body.ttl.is_given and (ttl := time_to_live(body.ttl, ttl_of(thread.ttl_minutes, thread.ttl_strategy))):
            thread.ttl_minutes, thread.ttl_strategy = ttl.minutes, ttl.strategy
            thread.expires_at = ttl.end(thread.updated_at)
            changed += ["ttl_minutes", "ttl_strategy", "expires_at"]
        thread.save(update_fields=changed)
    return thread_get(principal, thread_id, with_ttl=body.ttl.is_given)


def thread_delete(principal: Principal, thread_id: UUID) -> None:
    """Delete the thread with its runs and checkpoints; nothing of it can come back. Raises `NotFound`.

    It is gone for everybody when this returns. What a large thread holds goes afterwards, a portion at a time.
    """
    if not delete_threads([thread_id], workspace_id=principal.workspace_id):
        raise thread_not_found(thread_id)


def delete_threads(thread_ids: list[UUID], *, workspace_id: int) -> int:
    """Delete the threads of a workspace among `thread_ids`, at most `BATCH`; return how many there were.

    One transaction of bounded length: it hides the threads and removes a first portion of what they hold. For all of a
    small thread that is enough; the sweep does the rest, also after a crash.
    """
    with transaction.atomic():
        owned = list(
            Thread.objects.select_for_update()
            .filter(thread_id__in=thread_ids[:BATCH], workspace_id=workspace_id)
            .order_by("pk")
            .values_list("thread_id", flat=True)
        )
        if not owned:
            return 0
        threads_deleting.send(owned)
        ThreadTombstone.objects.bulk_create([ThreadTombstone(thread_id=thread_id) for thread_id in owned])
        Thread.objects.filter(thread_id__in=owned).update(
            workspace=None,
            ephemeral=False,
            expires_at=None,
            metadata={},
            config={},
            run_config=None,
            values=None,
            messages=None,
        )
        _purge_rows(owned)
        if IS_POSTGRES:
            finish_deletes(owned)
        else:
            # Checkpoints lie in another file, which no transaction spans.
            transaction.on_commit(lambda: finish_deletes(owned), robust=True)
    return len(owned)


def finish_deletes(thread_ids: list[UUID] | None = None) -> bool:
    """Remove a portion of what deleted threads have left, of all of them or of those given.

    Return whether nothing was left to do. Several processes may call it at once.
    """
    tombstones = ThreadTombstone.objects.order_by("created_at", "pk")
    if thread_ids is not None:
        tombstones = tombstones.filter(thread_id__in=thread_ids)
    with transaction.atomic():
        # Locked: whoever makes a thread in the place of a tombstone waits, and finds it gone. A sweep waits for nobody.
        locked = tombstones.select_for_update(skip_locked=thread_ids is None)
        doomed = list(locked.values_list("thread_id", flat=True)[:BATCH])
        if not doomed:
            return True
        gone = _purge_rows(doomed)
        if gone and checkpoints().delete_portion_sync(gone):
            ThreadTombstone.objects.filter(thread_id__in=gone).delete()
        else:
            gone = []
    if len(gone) == len(doomed) < BATCH:
        return True
    transaction.on_commit(lambda: background().wake(DELETES), robust=True)
    return False


def _purge_rows(thread_ids: list[UUID]) -> list[UUID]:
    """Delete a portion of the rows of deleted threads; return the threads that have none any more."""
    portion = Portion(PORTION)
    threads_purging.send(thread_ids, portion)
    if portion.is_used_up:
        left = Thread.objects.filter(thread_id__in=thread_ids).values_list("thread_id", flat=True)
        return sorted(set(thread_ids).difference(left))
    Thread.objects.filter(thread_id__in=thread_ids, workspace=None).only("pk").delete()
    return thread_ids


def make_room_for(thread_id: UUID) -> None:
    """Remove what is left of a deleted thread that had this id. Raises `Conflict` while that is too much for now."""
    if ThreadTombstone.objects.filter(thread_id=thread_id).exists() and not finish_deletes([thread_id]):
        raise Conflict(f"Thread {thread_id} is still being deleted. Try again in a moment, or take another id.")


def title_of(payload: Any) -> str:
    """A title from a run's input: the first words a person says, else its longest text; empty where there is none."""
    if not isinstance(payload, dict):
        return _shortened(payload) if isinstance(payload, str) else ""
    messages = payload.get("messages")
    for message in messages if isinstance(messages, list) else [messages]:
        content = message.get("content") if isinstance(message, dict) else message
        if isinstance(content, list):
            content = " ".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if isinstance(content, str) and (title := _shortened(content)):
            return title
    texts = [value for value in payload.values() if isinstance(value, str)]
    return _shortened(max(texts, key=len, default=""))


def _shortened(text: str) -> str:
    words = " ".join(text[: TITLE_LENGTH * 8].replace("\x00", "").split())
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1].rstrip() + "…"
