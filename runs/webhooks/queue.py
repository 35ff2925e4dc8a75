"""The queue of deliveries: what moves one from pending to delivered. Each function runs in a database thread.

A delivery that is claimed has a lease that is longer than a request may take. Who claims it and dies leaves it to the
next: it is delivered at least once, and all attempts carry the same `webhook-id`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from platform_site.core.telemetry import metrics
from runs.models import DeliveryStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from runs.webhooks import schedule
from runs.webhooks.answer import Answer
from runs.webhooks.schedule import Verdict
from runs.webhooks.signatures import secrets_of

# How much longer a lease is than the longest request: time to write down what came of it.
LEASE_MARGIN_SECONDS = 10.0
PENDING, DELIVERING, HELD = DeliveryStatus.PENDING, DeliveryStatus.DELIVERING, DeliveryStatus.HELD
LOST = "The process that sent it ended before the answer was written down."


@dataclass(frozen=True)
class Claimed:
    """A delivery that this process sends now."""

    pk: int
    delivery_id: UUID
    workspace_id: int
    url: str
    host: str
    body: str
    # Of this attempt; the first is 1.
    number: int
    lease_owner: str
    secrets: Sequence[str]


def claim(now: datetime, *, limit: int, per_host: int, busy: Mapping[str, int]) -> list[Claimed]:
    """Claim up to `limit` due deliveries, the longest due first, so that no host has more than `per_host` with `busy`.

    Those of disabled endpoints are held back instead.
    """
    taken: list[int] = []
    loads = Counter(busy)
    with transaction.atomic():
        while len(taken) < limit:
            full = [host for host, load in loads.items() if load >= per_host]
            due = WebhookDelivery.objects.filter(status=PENDING, next_attempt_at__lte=now)
            found = list(
                due.exclude(host__in=full)
                .exclude(pk__in=taken)
                .select_for_update(skip_locked=True)
                .order_by("next_attempt_at", "pk")
                .values_list("pk", "host")[: limit - len(taken)]
            )
            if not found:
                break
            for pk, host in found:
                if loads[host] < per_host:
                    loads[host] += 1
                    taken.append(pk)
        return _take(_without_disabled(taken, now), now) if taken else []


def _without_disabled(pks: list[int], now: datetime) -> list[int]:
    """These deliveries but those whose endpoint is disabled, which are held back from now on."""
    digests = dict(WebhookDelivery.objects.filter(pk__in=pks).values_list("pk", "endpoint_digest"))
    # Locked: whoever enables one of them at this moment finds what is held back, or we find it enabled.
    disabled = dict(
        WebhookEndpoint.objects.select_for_update()
        .filter(digest__in=set(digests.values()), disabled_at__isnull=False)
        .order_by("pk")
        .values_list("digest", "disabled_reason")
    )
    for digest, reason in disabled.items():
        held = [pk for pk in pks if digests[pk] == digest]
        WebhookDelivery.objects.filter(pk__in=held).update(status=HELD, error=reason)
        _count("held", len(held))
    return [pk for pk in pks if digests[pk] not in disabled]


def _take(pks: list[int], now: datetime) -> list[Claimed]:
    owner = uuid4().hex
    lease_end = now + timedelta(seconds=settings.WEBHOOK_TIMEOUT_SECONDS + LEASE_MARGIN_SECONDS)
    WebhookDelivery.objects.filter(pk__in=pks, status=PENDING).update(
        status=DELIVERING, lease_owner=owner, lease_expires_at=lease_end
    )
    rows = list(WebhookDelivery.objects.filter(pk__in=pks, lease_owner=owner).order_by("next_attempt_at", "pk"))
    secrets = secrets_of({row.workspace_id for row in rows}, now)
    return [
        Claimed(
            pk=row.pk,
            delivery_id=row.delivery_id,
            workspace_id=row.workspace_id,
            url=row.url,
            host=row.host,
            body=row.body,
            number=row.attempts + 1,
            lease_owner=owner,
            secrets=secrets[row.workspace_id],
        )
        for row in rows
    ]


def record(
    claimed: Claimed, at: datetime, sent: Mapping[str, str], answer: Answer, now: datetime, *, stop: bool = False
) -> bool:
    """Write down what came of an attempt, and what follows; False if the lease is lost. `stop`: no further attempt.

    `sent` are the headers as they may be shown.
    """
    verdict = Verdict.STOP if stop else schedule.verdict(answer.status)
    with transaction.atomic():
        held = WebhookDelivery.objects.select_for_update().filter(
            pk=claimed.pk, status=DELIVERING, lease_owner=claimed.lease_owner
        )
        row = held.defer("body").first()
        if row is None:
            return False
        row.attempts, row.response_status = claimed.number, answer.status
        row.lease_owner = row.lease_expires_at = None
        row.error = "" if verdict is Verdict.DELIVERED else answer.error
        WebhookAttempt.objects.create(
            delivery=row,
            number=claimed.number,
            at=at,
            milliseconds=answer.milliseconds,
            request_headers=dict(sent),
            response_status=answer.status,
            response_headers=answer.headers,
            response_body=answer.body,
            error=row.error,
        )
        if verdict is Verdict.DELIVERED:
            _settle(row, DeliveryStatus.DELIVERED, now)
        else:
            _failed(row, verdict, answer, now)
        _save(row)
    return True


def _save(row: WebhookDelivery) -> None:
    """Save the row, or delete it if it is settled and its thread is deleted."""
    if row.settled_at is not None and row.is_forgotten:
        row.delete()
    else:
        row.save()


def _settle(row: WebhookDelivery, status: DeliveryStatus, now: datetime) -> None:
    row.status, row.settled_at = status, now
    _count(status.value)
    if status is DeliveryStatus.DELIVERED:
        row.failing_since, row.failures = None, 0
    if not row.endpoint_digest:
        # Its address was not allowed when the run ended: it belongs to no endpoint.
        return
    if status is DeliveryStatus.DELIVERED:
        endpoint_delivered(row, now)
    else:
        endpoint_failed(row, now)


def _failed(
    row: WebhookDelivery, verdict: Verdict, answer: Answer, now: datetime, again: datetime | None = None
) -> None:
    row.failures += 1
    row.failing_since = row.failing_since or now
    if verdict is Verdict.RETRY and again is None:
        patience = schedule.retry_after(answer.status, answer.header("retry-after"), now)
        again = schedule.next_attempt(now, failures=row.failures, failing_since=row.failing_since, patience=patience)
    if again is None:
        _settle(row, DeliveryStatus.FAILED, now)
    else:
        row.status, row.next_attempt_at = PENDING, again
        _count("retried")


def endpoint_delivered(row: WebhookDelivery, now: datetime) -> None:
    """The endpoint works: what had failed before is forgiven."""
    place = {"workspace_id": row.workspace_id, "digest": row.endpoint_digest}
    if not WebhookEndpoint.objects.filter(**place).update(failures=0, last_delivered_at=now):
        WebhookEndpoint.objects.get_or_create(**place, defaults={"address": row.address, "last_delivered_at": now})


def endpoint_failed(row: WebhookDelivery, now: datetime) -> None:
    """A delivery was given up: its endpoint is disabled after too many in a row, or if it says that it is gone."""
    place = {"workspace_id": row.workspace_id, "digest": row.endpoint_digest}
    endpoint, _ = WebhookEndpoint.objects.select_for_update().get_or_create(**place, defaults={"address": row.address})
    endpoint.failures += 1
    endpoint.last_failed_at = now
    reason = ""
    if row.response_status == schedule.GONE:
        reason = row.error
    elif 0 < settings.WEBHOOK_DISABLE_AFTER <= endpoint.failures:
        reason = f"{endpoint.failures} deliveries in a row were given up. The last one: {row.error}"
    endpoint.save()
    if reason and endpoint.disabled_at is None:
        disable(endpoint, f"Disabled automatically. {reason}", now)


def disable(endpoint: WebhookEndpoint, reason: str, now: datetime) -> None:
    """Hold back what the endpoint is owed, from now on. It is locked by the transaction of the caller."""
    endpoint.disabled_at, endpoint.disabled_reason = now, reason
    endpoint.save(update_fields=["disabled_at", "disabled_reason"])
    # Those that are being claimed right now are held back by who claims them.
    pending = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
        workspace_id=endpoint.workspace_id, endpoint_digest=endpoint.digest, status=PENDING
    )
    held = list(pending.values_list("pk", flat=True))
    for start in range(0, len(held), 500):
        WebhookDelivery.objects.filter(pk__in=held[start : start + 500]).update(status=HELD, error=reason)
    _count("held", len(held))


def release(claims: Collection[Claimed]) -> None:
    """Give back deliveries whose requests were cut off on purpose: they are due again at once."""
    owned = Q(pk__in=[claimed.pk for claimed in claims]) & Q(lease_owner__in={c.lease_owner for c in claims})
    WebhookDelivery.objects.filter(owned, status=DELIVERING).update(
        status=PENDING, lease_owner=None, lease_expires_at=None
    )


def take_back(now: datetime, *, everything: bool = False) -> int:
    """Make deliveries due again whose sender is gone; how many. `everything`: no other process can be alive."""
    with transaction.atomic():
        lost = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(status=DELIVERING)
        if not everything:
            lost = lost.filter(lease_expires_at__lt=now)
        rows = list(lost.defer("body"))
        for row in rows:
            row.attempts += 1
            WebhookAttempt.objects.create(delivery=row, number=row.attempts, at=now, error=LOST)
            row.error, row.response_status = LOST, None
            row.lease_owner = row.lease_expires_at = None
            # At once if it has not failed before, which is what a crash of the server looks like.
            again = now if not row.failures else None
            _failed(row, Verdict.RETRY, Answer(), now, again)
            _save(row)
    return len(rows)


def next_due(*, full: Collection[str]) -> datetime | None:
    """When there is something to do next for a host that is not `full`: a delivery is due, or a lease runs out."""
    pending = WebhookDelivery.objects.filter(status=PENDING).exclude(host__in=full).order_by("next_attempt_at")
    leased = WebhookDelivery.objects.filter(status=DELIVERING).order_by("lease_expires_at")
    moments = [
        pending.values_list("next_attempt_at", flat=True).first(),
        leased.values_list("lease_expires_at", flat=True).first(),
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def delete_old(now: datetime, limit: int = 500) -> int:
    """Delete up to `limit` deliveries, oldest first, that are past their retention and not on their way; how many."""
    horizon = now - timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    old = WebhookDelivery.objects.filter(created_at__lt=horizon).exclude(status__in=(PENDING, DELIVERING))
    pks = list(old.order_by("created_at").values_list("pk", flat=True)[:limit])
    if pks:
        with transaction.atomic():
            WebhookDelivery.objects.filter(pk__in=pks).only("pk").delete()
    return len(pks)


def delete_old_endpoints(now: datetime) -> int:
    """Delete endpoints of which nothing was heard for as long; how many. Those that are disabled stay."""
    horizon = now - timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    delivered = Q(last_delivered_at=None) | Q(last_delivered_at__lt=horizon)
    failed = Q(last_failed_at=None) | Q(last_failed_at__lt=horizon)
    return WebhookEndpoint.objects.filter(delivered, failed, disabled_at=None).delete()[0]


def _count(outcome: str, count: int = 1) -> None:
    if count:
        transaction.on_commit(lambda: metrics.WEBHOOKS.labels(outcome).inc(count), robust=True)
