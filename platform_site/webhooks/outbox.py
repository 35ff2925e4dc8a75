"""The outbox: the delivery of a run's end is written in the transaction that ends the run."""

from datetime import datetime
from typing import Any

import orjson
from django.db import transaction
from django.utils import timezone

from platform_site.core.background.tasks import background
from platform_site.core.errors import Unprocessable
from platform_site.core.graphs.output import Output
from platform_site.core.wire import encode, timestamp
from platform_site.webhooks.endpoint_rules import target_of
from platform_site.webhooks.models import WebhookDelivery
from runs.hooks import RunEnd
from runs.models import Run
from threads.models import Thread

TASK = "webhooks"


def delivery_owe(run: Run, end: RunEnd, now: datetime) -> None:
    """Write the delivery of a run with a webhook that ends in this transaction. `run` is the row before its end."""
    url = run.kwargs["webhook"]
    try:
        target = target_of(url)
        place = {"host": target.host[:255], "address": target.address}
        place["endpoint_digest"] = target.endpoint_digest(run.workspace_id)
    except Unprocessable:
        # The URL was allowed when the run was created. The delivery will say that it no longer is.
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


def _body(run: Run, end: RunEnd, now: datetime) -> bytes:
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
