"""All that this server does without being asked, in one list; `core/background.py` keeps it alive."""

from django.conf import settings

from platform_site import alive
from platform_site.core.background import Task


def background_tasks() -> list[Task]:
    """The tasks of a serving process."""
    return [*_alive(), *_crons(), *_webhooks()]


def _alive() -> list[Task]:
    async def touch() -> None:
        alive.touch(settings.ALIVE_FILE)

    return [Task("alive", touch, alive.INTERVAL)] if settings.ALIVE_FILE else []


def _crons() -> list[Task]:
    from crons import retention, services
    from crons.scheduler import Scheduler

    return [
        Task(services.TASK, Scheduler().round, settings.SWEEP_SECONDS),
        Task("cron-history", retention.sweep_ticks, retention.INTERVAL),
    ]


def _webhooks() -> list[Task]:
    from runs.webhooks.deliverer import webhook_tasks

    return webhook_tasks()
