from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.apps import AppConfig

from platform_site.core.database.access import Portion
from platform_site.core.hooks import state_posted, state_updated, thread_freed, threads_deleting, threads_purging


def _stop_runs(thread_ids: list[UUID]) -> None:
    # Imported when it happens: the engine brings LangGraph along, which costs every command a second.
    from runs.cancel import runs_stop_of_threads

    runs_stop_of_threads(thread_ids)


def _purge_runs(thread_ids: list[UUID], portion: Portion) -> None:
    from runs.engine.removal import purge_runs_of_threads

    purge_runs_of_threads(thread_ids, portion)


def _close_interrupts(thread_id: UUID) -> None:
    from runs.interrupts import interrupts_close_stale

    interrupts_close_stale(thread_id)


def _begin_runs(thread_id: UUID) -> None:
    from runs.engine.engine import wake_thread

    wake_thread(thread_id)


def _stream_state(workspace_id: int, thread_id: UUID, state: Callable[[], dict[str, Any]]) -> None:
    from runs.streaming.thread_stream import state_posted as stream_state

    stream_state(workspace_id, thread_id, state)


def _end_streams(thread_ids: list[UUID]) -> None:
    from runs.streaming.thread_stream import end_streams

    end_streams(thread_ids)


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        threads_deleting.connect(_stop_runs)
        threads_deleting.connect(_end_streams)
        threads_purging.connect(_purge_runs)
        state_updated.connect(_close_interrupts)
        thread_freed.connect(_begin_runs)
        state_posted.connect(_stream_state)
