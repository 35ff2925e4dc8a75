"""All that this server does without being asked, in one list; `core/background/tasks.py` keeps it alive."""

from django.conf import settings

from platform_site.core.background.collector import collector_tasks
from platform_site.core.background.tasks import Task
from platform_site.processes import alive


def web_tasks() -> list[Task]:
    """The tasks of a web process of scale mode: what only concerns its own clients."""
    return [*_alive(), *collector_tasks(), *_processes("web"), *_events()]


def background_tasks() -> list[Task]:
    """The tasks of a process that executes runs."""
    role = "worker" if settings.REDIS_URL else "server"
    known = [*_alive(), *collector_tasks(), *_processes(role)]
    return [*known, *_engine(), *_events(), *_threads(), *_crons(), *_webhooks(), *_store()]


def _alive() -> list[Task]:
    async def touch() -> None:
        alive.touch(settings.ALIVE_FILE)

    return [Task("alive", touch, alive.INTERVAL)] if settings.ALIVE_FILE else []


def _processes(role: str) -> list[Task]:
    from platform_site.system.processes import process_tasks

    return process_tasks(role)


def _engine() -> list[Task]:
    from runs.engine.sweep import engine_tasks

    return engine_tasks()


def _events() -> list[Task]:
    from platform_site.core.events.configured import event_log
    from platform_site.core.events.memory import MemoryEventLog, event_tasks

    log = event_log()
    if isinstance(log, MemoryEventLog):
        return event_tasks(log)
    # Only here: a process without Redis neither waits for the import of its client nor keeps the client in memory.
    from platform_site.core.events.redis import RedisEventLog
    from platform_site.core.events.redis_budget import budget_task
    from runs.streaming.lost_ends import INTERVAL, LostEnds

    assert isinstance(log, RedisEventLog)
    # Nodes of a worker wait for runs as clients of a web process do.
    return [Task("lost-ends", LostEnds(log).round, INTERVAL), budget_task(log)]


def _threads() -> list[Task]:
    from threads.expiry import thread_tasks

    return thread_tasks()


def _crons() -> list[Task]:
    from crons import retention, services
    from crons.scheduler import Scheduler

    return [
        Task(services.TASK, Scheduler().round, settings.SWEEP_SECONDS),
        Task("cron-history", retention.sweep_ticks, retention.INTERVAL),
    ]


def _webhooks() -> list[Task]:
    from platform_site.webhooks.deliverer import webhook_tasks

    return webhook_tasks()


def _store() -> list[Task]:
    from store import expiry

    return [Task(expiry.TASK, expiry.Sweeper().round, expiry.interval())]
