"""The run pages."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from assistants.pages.browse import assistant_choices
from crons.pages.browse import cron_name, find_cron
from platform_site.access.principal import Role
from platform_site.console.finding import as_uuid
from platform_site.console.shell import VIEWER_SENTENCE, PageRequest, page, render_page
from platform_site.core.errors import ApiError
from platform_site.core.events.configured import event_log
from platform_site.core.graphs.registry import BrokenGraph
from platform_site.webhooks.pages import deliveries_of_run
from runs.cancel import run_cancel
from runs.models import FINISHED, Run
from runs.pages import browse
from runs.pages.timeline import timeline, tokens_by_node
from runs.status import RUN_WORDS, run_shown
from runs.tracebacks import frames
from threads.pages.browse import find_thread

PARTS = ("course", "after")


@page
def run_list(request: PageRequest) -> HttpResponse:
    filters = browse.RunFilters(
        word=request.GET.get("status", "") if request.GET.get("status") in RUN_WORDS else "",
        assistant=request.GET.get("assistant", ""),
        error_class=request.GET.get("error", ""),
        text=request.GET.get("q", "").strip(),
        thread=as_uuid(request.GET.get("thread", "")),
    )
    thread = find_thread(request.principal, filters.thread) if filters.thread else None
    if filters.thread and thread is None:
        raise Http404
    found, rows = browse.runs_page(request.principal, filters, request.GET.get("page", "1"))
    context = {
        "nav": "runs",
        "filters": filters,
        "thread": thread[0] if thread else None,
        "found": found,
        "rows": rows,
        "words": RUN_WORDS,
        "assistants": assistant_choices(request.principal),
    }
    return render_page(request, "runs/list.html", context)


@page
def run_detail(request: PageRequest, run_id: UUID) -> HttpResponse:
    """One run. `?part=course` is its timeline, `?part=after` all that changes when it ends, for a page that watches."""
    run = browse.find_run(request.principal, run_id)
    if run is None:
        raise Http404
    part = request.GET.get("part")
    template = f"runs/run.html#{part}" if part in PARTS else "runs/run.html"
    return render_page(request, template, _run_context(request, run))


def _run_context(request: PageRequest, run: Run) -> dict[str, Any]:
    now = timezone.now()
    attempts = browse.attempts_of(run)
    spans, more = browse.spans_of(run)
    live = run.status not in FINISHED or run.lease_owner is not None
    # Only admins see why a graph could not be loaded: the reason may hold connection strings and keys.
    is_told = run.error_class != BrokenGraph.__name__ or request.principal.role is Role.ADMIN
    found = frames(run.error_traceback) if is_told else []
    waits: bool = run.waits  # type: ignore[attr-defined]
    waited = ((run.started_at or now) - max(run.created_at, run.scheduled_at)).total_seconds()
    ran = ((run.finished_at or now) - run.started_at).total_seconds() if run.started_at else None
    questions = browse.questions_of_thread(request.principal, run.thread_id) if waits else []
    return {
        "nav": "runs",
        "run": run,
        "shown": run_shown(run, waits, settings.MAX_ATTEMPTS),
        "live": live,
        "watched": live or async_to_sync(event_log().is_closed)(str(run.run_id)),
        "can_cancel": run.status not in FINISHED and run.cancel_action is None,
        "viewer_sentence": VIEWER_SENTENCE,
        "waited": waited,
        "ran": ran,
        "timeline": timeline(run, attempts, spans, more, now),
        "attempts": [(attempt, (attempt.ended_at - attempt.started_at).total_seconds()) for attempt in attempts],
        "tokens": tokens_by_node(spans),
        "questions": [question for question in questions if question.run_id == run.run_id],
        "stopped_before": run.stopped_before if waits else None,
        "error_text": run.error_text if is_told else run.error_message,
        "error_traceback": run.error_traceback if is_told else "",
        "frames": [frame for frame in found if not frame.is_library],
        "library_frames": [frame for frame in found if frame.is_library],
        "input": _input(run.kwargs),
        "config": _config(run),
        "cron": _cron(request, run),
        "deliveries": deliveries_of_run(request.principal, run.run_id) if run.kwargs.get("webhook") else [],
        "others": browse.runs_of_thread(request.principal, run.thread_id, 8, without=run.run_id),
        "kept_seconds": settings.EVENT_TTL_SECONDS,
    }


def _cron(request: PageRequest, run: Run) -> tuple[UUID, str] | None:
    """Id and name of the cron that made the run, if it is still there. Metadata may be anybody's; this is not."""
    configurable = (run.kwargs.get("config") or {}).get("configurable") or {}
    cron_id = as_uuid(str(configurable.get("cron_id", "")))
    cron = find_cron(request.principal, cron_id) if cron_id else None
    return (cron.cron_id, cron_name(cron)) if cron else None


def _input(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the run was given: its input, its command, or both."""
    given = {name: kwargs[name] for name in ("input", "command") if kwargs.get(name) is not None}
    only_input = given.get("input") if set(given) == {"input"} else None
    return only_input if isinstance(only_input, dict) else given


# Shown in this order, if set.
_CONFIG = ("stream_mode", "stream_subgraphs", "subgraphs", "durability", "interrupt_before", "interrupt_after",
           "checkpoint_id", "checkpoint", "webhook", "on_disconnect", "on_completion", "context")  # fmt: skip


def _config(run: Run) -> dict[str, Any]:
    """How it was run. Who called it is left out of `configurable`: credentials may be among it."""
    config = run.kwargs.get("config")
    shown: dict[str, Any] = {"multitask_strategy": run.multitask_strategy}
    shown |= {name: run.kwargs[name] for name in _CONFIG if run.kwargs.get(name) not in (None, [], {}, "")}
    if isinstance(config, dict):
        inner = config.get("configurable")
        shown |= {name: value for name, value in config.items() if name not in ("configurable", "metadata")}
        if isinstance(inner, dict) and (
            open_keys := {k: v for k, v in inner.items() if not k.startswith(("langgraph_auth", "__"))}
        ):
            shown["configurable"] = open_keys
    if run.metadata:
        shown["metadata"] = run.metadata
    return shown


@require_POST
@page
def run_stop(request: PageRequest, run_id: UUID) -> HttpResponse:
    """Cancel a run that has not ended; the service says so if it has."""
    run = browse.find_run(request.principal, run_id)
    if run is None:
        raise Http404
    if not request.principal.can_write:
        raise PermissionDenied(VIEWER_SENTENCE)
    try:
        run_cancel(request.principal, run.thread_id, run.run_id, action="interrupt")
    except ApiError as error:
        messages.error(request, f"The run was not cancelled: {error.detail}")
    else:
        messages.success(request, "The run is being cancelled.")
    return redirect("run", run_id)
