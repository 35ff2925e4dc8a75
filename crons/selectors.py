"""Reads of crons and of their ticks."""

from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import orjson
from django.db.models import Exists, F, OuterRef, QuerySet

from crons.models import Cron, CronTick
from crons.schemas import Column, CronCount, CronSearch
from platform_site.access.principal import Principal
from platform_site.core.errors import NotFound
from platform_site.core.http.paging import Page
from platform_site.core.wire import encode, timestamp
from threads.models import Thread

_TIMES = ("created_at", "updated_at")
_NULLABLE = ("thread_id", "next_run_date", "ends_at")
COLUMNS: tuple[str, ...] = get_args(Column)


def crons_visible(principal: Principal) -> "QuerySet[Cron]":
    """Every cron of the caller's workspace but those of deleted threads."""
    deleted = Thread.objects.filter(pk=OuterRef("thread_id"), workspace=None)
    return Cron.objects.filter(~Exists(deleted), workspace_id=principal.workspace_id)


def cron_require(principal: Principal, cron_id: UUID) -> Cron:
    """The cron. Raises `NotFound`."""
    cron = crons_visible(principal).filter(cron_id=cron_id).first()
    if cron is None:
        raise NotFound
    return cron


def _on_wire(row: dict[str, Any]) -> dict[str, Any]:
    for column in _TIMES:
        if column in row:
            row[column] = timestamp(row[column])
    if row.get("next_run_date") is not None:
        row["next_run_date"] = row["next_run_date"].isoformat(timespec="seconds")
    return row


def cron_wire(cron: Cron) -> dict[str, Any]:
    """The cron as it goes over the wire."""
    return _on_wire({column: getattr(cron, column) for column in COLUMNS})


def cron_get(principal: Principal, cron_id: UUID) -> bytes:
    """The cron as JSON. Raises `NotFound`."""
    return encode(cron_wire(cron_require(principal, cron_id)))


def _matching(principal: Principal, query: CronCount) -> "QuerySet[Cron]":
    found = crons_visible(principal)
    if query.assistant_id is not None:
        found = found.filter(assistant_id=query.assistant_id)
    if query.thread_id is not None:
        found = found.filter(thread_id=query.thread_id)
    if query.metadata:
        found = found.filter(metadata__covers=query.metadata)
    return found


def cron_search(principal: Principal, query: CronSearch) -> Page:
    """The page of crons that match, newest first unless asked otherwise; what has no date comes last."""
    found = _matching(principal, query)
    if query.enabled is not None:
        found = found.filter(enabled=query.enabled)
    column = "ends_at" if query.sort_by == "end_time" else query.sort_by
    # Only where there are nulls: PostgreSQL's indexes are in another order.
    nulls_last = True if column in _NULLABLE else None
    if query.sort_order == "asc":
        found = found.order_by(F(column).asc(nulls_last=nulls_last), "cron_id")
    else:
        found = found.order_by(F(column).desc(nulls_last=nulls_last), "-cron_id")
    rows = found.values(*(query.select or COLUMNS))[query.offset : query.offset + query.limit + 1]
    return Page.of(query.offset, query.limit, (encode(_on_wire(row)) for row in rows))


def cron_count(principal: Principal, query: CronCount) -> bytes:
    """How many crons match, as JSON."""
    return orjson.dumps(_matching(principal, query).count())


def cron_ticks(
    principal: Principal, cron_id: UUID, *, before: datetime | None = None, limit: int = 100
) -> list[CronTick]:
    """The due times of a cron and what became of them, the latest first. Raises `NotFound`."""
    ticks = CronTick.objects.filter(cron=cron_require(principal, cron_id))
    if before is not None:
        ticks = ticks.filter(due_at__lt=before)
    return list(ticks.order_by("-due_at")[:limit])
