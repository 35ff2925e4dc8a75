"""The outbox: what a run's end owes its webhook is written in the transaction that ends the run."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import transaction
from django.utils import timezone

from platform_site.core.background.tasks import background
from platform_site.core.errors import Unprocessable
from platform_site.core.graphs.output import Output
from platform_site.core.wire import encode, timestamp
from runs.models import CancelAction, Run, RunStatus, WebhookDelivery
from runs.webhooks.policy import target_of
from threads.models import Thread

TASK = "webhooks"
NO_VALUES = b"null"
CANCEL_ERRORS = {
    CancelAction.INTERRUPT: "UserInterrupt",
    CancelAction.ROLLBACK: "UserRollback",
}


@dataclass(frozen=True)
class End:
    """How a run ended, as its webhook tells. `values` are JSON; None: those that the thread has."""

    status: RunStatus
    error: dict[str, str] | None = None
    values: bytes | None = NO_VALUES


def cancelled_error(action: CancelAction) -> dict[str, str]:
    """What a run that was cancelled so has as its error."""
    return {
        "error": CANCEL_ERRORS[action],
        "message": f"{action.value} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel",
    }


def webhook_owe(run: Run, end: End, now: datetime) -> None:
    """Write the delivery of a run that ends in this transaction, if it has a webhook. `run` is as before its end."""
    url = run.kwargs.get("webhook")
    if not url:
        return
    try:
        target = target_of(url)
        place = {"host": target.host[:255], "address": target.address}
        place["endpoint_digest"] = target.endpoint_digest(run.workspace_id)
    except Unprocessable:
        # Allowed when the run was created, and not any more: its delivery says so.
        place = {}
    WebhookDelivery.objects.create(
        workspace_id=run.workspace_id,
        run_id=run.run_id,
        thread_id=run.thread_id,
        url=url,
        event=f"run.{end.status.value}",
        body=_body(run, end, now).decode(),
        created_at=now,
        next_attempt_at=now,
        **place,
    )
    transaction.on_commit(lambda: background().wake(TASK), robust=True)


def _body(run: Run, end: End, now: datetime) -> bytes:
    values = end.values
    if values is None:
        thread = Thread.objects.only("values", "output_keys").filter(thread_id=run.thread_id).first()
        values = encode(Output(thread.output_keys).shown(thread.values) if thread is not None else None)
    body: dict[str, Any] = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "metadata": run.metadata,
        "status": end.status.value,
        "kwargs": run.kwargs,
        "multitask_strategy": run.multitask_strategy,
        "created_at": timestamp(run.created_at),
        "updated_at": timestamp(now),
        "langsmith_session_name": None,
        "run_started_at": timestamp(run.started_at) if run.started_at else None,
        "run_ended_at": timestamp(now),
        "webhook_sent_at": timestamp(timezone.now()),
        "values": orjson.Fragment(values),
    }
    if end.error is not None:
        body["error"] = end.error
    return encode(body)
