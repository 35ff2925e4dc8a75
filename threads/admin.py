"""Threads in the admin: read-only, deleted through the service, with a look at their checkpoints."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from platform_site.console.admin import ReadOnly, on_dashboard
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.loops import state_loop
from threads.models import LARGE_COLUMNS, Thread, ThreadTombstone
from threads.services import delete_threads
from threads.time_to_live import ttl_end, ttl_of

CHECKPOINTS_SHOWN = 50
# A page does not wait longer than this for checkpoints.
PATIENCE_SECONDS = 10


@admin.register(Thread)
class ThreadAdmin(ReadOnly):
    list_display = ("name", "status", "workspace", "created_at", "updated_at", "ends_at")
    list_filter = ("status",)
    list_select_related = ("workspace",)
    search_fields = ("title", "thread_id")
    readonly_fields = ("dashboard", "checkpoint_list")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Thread]:
        threads: QuerySet[Thread] = super().get_queryset(request)
        is_list = request.resolver_match is not None and request.resolver_match.url_name == "threads_thread_changelist"
        return threads.defer(*LARGE_COLUMNS) if is_list else threads

    @admin.display(description="thread", ordering="title")
    def name(self, thread: Thread) -> str:
        # Without a workspace it is gone for everybody else, and what it holds goes a portion at a time.
        return str(thread) if thread.workspace_id is not None else f"{thread} (is being deleted)"

    @admin.display(description="ends at")
    def ends_at(self, thread: Thread) -> datetime | None:
        """When the thread's time is over; the column itself is when the sweep looks at it."""
        ttl = ttl_of(thread.ttl_minutes, thread.ttl_strategy)
        return None if ttl is None or thread.expires_at is None else ttl_end(ttl, thread.updated_at, thread.expires_at)

    @admin.display(description="dashboard")
    def dashboard(self, thread: Thread) -> SafeString:
        return on_dashboard(reverse("thread", args=[thread.pk]))

    @admin.display(description="checkpoints")
    def checkpoint_list(self, thread: Thread) -> SafeString | str:
        if thread.workspace_id is None:
            return "The thread is being deleted."
        rows = state_loop().submit(_checkpoints(thread.workspace_id, thread.pk)).result(PATIENCE_SECONDS)
        if not rows:
            return "None."
        body = format_html_join("", "<tr>" + "<td>{}</td>" * 6 + "</tr>", rows)
        more = format_html("<p>Only the newest {} are shown.</p>", CHECKPOINTS_SHOWN)
        heads = ("Namespace", "Checkpoint", "Parent", "Step", "Source", "Written")
        return format_html(
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}",
            format_html_join("", "<th scope='col'>{}</th>", ((head,) for head in heads)),
            body,
            more if len(rows) == CHECKPOINTS_SHOWN else "",
        )

    # Deleting goes through the service, which takes runs and checkpoints along.

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("threads.delete_thread")

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        threads = list(objs)
        named = [format_html("{} with its runs, open questions and checkpoints", str(thread)) for thread in threads]
        return named, {"threads": len(threads)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Thread) -> None:
        self.delete_queryset(request, Thread.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Thread]) -> None:
        for pk, workspace_id in queryset.values_list("pk", "workspace_id"):
            # Without a workspace it is being deleted already.
            if workspace_id is not None:
                delete_threads([pk], workspace_id=workspace_id)


async def _checkpoints(workspace_id: int, thread_id: UUID) -> list[tuple[str, ...]]:
    """The newest checkpoints of a thread in all namespaces; values are left where they are."""
    # LangGraph takes a second to import, and commands load the admin.
    from platform_site.core.scope import Scope

    await checkpoints().setup()
    saver = Scope(workspace_id=workspace_id, thread_id=thread_id).saver()
    rows: list[tuple[str, ...]] = []
    async for found in saver.alist({"configurable": {"thread_id": str(thread_id)}}, limit=CHECKPOINTS_SHOWN):
        place = found.config["configurable"]
        parent = (found.parent_config or {}).get("configurable", {})
        rows.append((
            place.get("checkpoint_ns", "") or "root",
            place["checkpoint_id"],
            parent.get("checkpoint_id", "–"),
            str(found.metadata.get("step", "–")),
            str(found.metadata.get("source", "–")),
            str(found.checkpoint.get("ts", "–")),
        ))  # fmt: skip
    return rows


@admin.register(ThreadTombstone)
class ThreadTombstoneAdmin(ReadOnly):
    list_display = ("thread_id", "created_at")
