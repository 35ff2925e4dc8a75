"""Connects webhooks to the hooks by which runs and threads tell and ask."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.apps import AppConfig

from platform_site.core.database.access import Portion
from platform_site.core.hooks import threads_deleting, threads_purging

if TYPE_CHECKING:
    from runs.hooks import RunEnd
    from runs.models import Run

# The receivers import what they call when they are called: a command that ends no run does not wait for it.


def _owe(run: "Run", end: "RunEnd", now: datetime) -> None:
    from platform_site.webhooks.outbox import delivery_owe

    delivery_owe(run, end, now)


def _forget_run(run: "Run") -> None:
    from platform_site.webhooks.removal import deliveries_of_run_forget

    deliveries_of_run_forget(run)


def _disown_threads(thread_ids: list[UUID]) -> None:
    from platform_site.webhooks.removal import deliveries_of_threads_disown

    deliveries_of_threads_disown(thread_ids)


def _purge_threads(thread_ids: list[UUID], portion: Portion) -> None:
    from platform_site.webhooks.removal import deliveries_of_threads_purge

    deliveries_of_threads_purge(thread_ids, portion)


def _check(url: str) -> None:
    from platform_site.webhooks.endpoint_rules import webhook_check

    webhook_check(url)


async def _admit(url: str) -> None:
    from platform_site.webhooks.endpoint_rules import webhook_check_host

    await webhook_check_host(url)


class WebhooksConfig(AppConfig):
    name = "platform_site.webhooks"

    def ready(self) -> None:
        from runs.hooks import run_deleting, run_ended, webhook_admitting, webhook_checking

        run_ended.connect(_owe)
        run_deleting.connect(_forget_run)
        threads_deleting.connect(_disown_threads)
        threads_purging.connect(_purge_threads)
        webhook_checking.connect(_check)
        webhook_admitting.connect(_admit)
