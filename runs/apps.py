from uuid import UUID

from django.apps import AppConfig

from platform_site.core.hooks import state_updated, threads_deleting


def _stop_runs(thread_ids: list[UUID]) -> None:
    # Imported when it happens: the engine brings LangGraph along, which costs every command a second.
    from runs.services import runs_stop_of_threads

    runs_stop_of_threads(thread_ids)


def _close_interrupts(thread_id: UUID) -> None:
    from runs.interrupts import interrupts_close_stale

    interrupts_close_stale(thread_id)


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        threads_deleting.connect(_stop_runs)
        state_updated.connect(_close_interrupts)
