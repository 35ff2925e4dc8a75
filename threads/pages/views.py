"""The thread pages."""

from uuid import UUID

from django.http import Http404, HttpResponse

from crons.pages.browse import crons_of_thread
from platform_site.console.shell import PageRequest, page, render_page
from runs.pages.browse import questions_of_thread, runs_of_thread
from runs.status import THREAD_WORDS
from threads.pages import browse

RUNS_SHOWN = 20


@page
def thread_list(request: PageRequest) -> HttpResponse:
    word = request.GET.get("status", "")
    word = word if word in THREAD_WORDS else ""
    text = request.GET.get("q", "").strip()
    found, rows = browse.threads_page(request.principal, word, text, request.GET.get("page", "1"))
    context = {
        "nav": "threads",
        "word": word,
        "q": text,
        "filtered": bool(word or text),
        "words": THREAD_WORDS,
        "found": found,
        "rows": rows,
    }
    return render_page(request, "threads/list.html", context)


@page
def thread_detail(request: PageRequest, thread_id: UUID) -> HttpResponse:
    seen = browse.find_thread(request.principal, thread_id)
    if seen is None:
        raise Http404
    thread, shown = seen
    runs = runs_of_thread(request.principal, thread_id, RUNS_SHOWN + 1)
    stopped = [row.run for row in runs if row.run.stopped_before and row.run.waits]  # type: ignore[attr-defined]
    context = {
        "nav": "threads",
        "thread": thread,
        "shown": shown,
        "ttl": None if thread.ttl_minutes is None else thread.ttl_minutes * 60,
        "runs": runs[:RUNS_SHOWN],
        "more_runs": len(runs) > RUNS_SHOWN,
        "crons": crons_of_thread(request.principal, thread_id),
        "questions": questions_of_thread(request.principal, thread_id),
        "stopped_before": stopped[0].stopped_before if stopped else None,
        "failed": next((row.run for row in runs if row.run.error_class), None) if thread.error else None,
    }
    return render_page(request, "threads/thread.html", context)
