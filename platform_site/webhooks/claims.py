"""Claims on deliveries: all that moves one from pending to delivered. Each function runs in a database thread.

A claim is a lease that is longer than a request may take. When a process dies with a claim, its lease expires and the
next process claims the delivery. So a delivery is sent at least once, and all its attempts carry the same `webhook-id`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from platform_site.webhooks import retries
from platform_site.webhooks.endpoints import count, endpoint_delivered, endpoint_failed, hold_back
from platform_site.webhooks.models import DeliveryStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from platform_site.webhooks.retries import Answer, Verdict
from platform_site.webhooks.signatures import secrets_of

# How much longer a lease is than the longest request: time to write down the answer.
LEASE_MARGIN_SECONDS = 10.0
PENDING, DELIVERING = DeliveryStatus.PENDING, DeliveryStatus.DELIVERING
LOST = "The process that sent it ended before the answer was written down."


@dataclass(frozen=True)
class Claimed:
    """A delivery that this process has claimed, with all that sending it needs."""

    pk: int
    delivery_id: UUID
    workspace_id: int
    url: str
    host: str
    body: str
    # The number of this attempt; the first is 1.
    number: int
    lease_owner: str
    secrets: Sequence[str]


def claim(now: datetime, *, limit: int, per_host: int, busy: Mapping[str, int]) -> list[Claimed]:
    """Claim up to `limit` due deliveries, the longest due first, and at most `per_host` to one host.

    `busy` counts the requests to each host that are under way. Deliveries to disabled endpoints are held back instead.
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
    """Return those of the deliveries whose endpoint is enabled, and hold back the others."""
    digests = dict(WebhookDelivery.objects.filter(pk__in=pks).values_list("pk", "endpoint_digest"))
    # The lock decides: a person who enables an endpoint now either finds what is held back here, or came first.
    disabled = dict(
        WebhookEndpoint.objects.select_for_update()
        .filter(digest__in=set(digests.values()), disabled_at__isnull=False)
        .order_by("pk")
        .values_list("digest", "disabled_reason")
    )
    for digest, reason in disabled.items():
        hold_back([pk for pk in pks if digests[pk] == digest], reason)
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
    """Write down the answer to an attempt and what follows from it. Return False if the lease is lost.

    `sent` are the headers as they may be shown. With `stop` there is no further attempt.
    """
    verdict = Verdict.STOP if stop else retries.verdict(answer.status)
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
    """Save the row, or delete it if it is settled and its run or thread was deleted."""
    if row.settled_at is not None and row.is_forgotten:
        row.delete()
    else:
        row.save()


def _settle(row: WebhookDelivery, status: DeliveryStatus, now: datetime) -> None:
    row.status, row.settled_at = status, now
    count(status.value)
    if status is DeliveryStatus.DELIVERED:
        row.failing_since, row.failures = None, 0
    if not row.endpoint_digest:
        # The URL was no longer allowed when the run ended, so the delivery belongs to no endpoint.
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
        patience = retries.retry_after(answer.status, answer.header("retry-after"), now)
        again = retries.next_attempt(now, failures=row.failures, failing_since=row.failing_since, patience=patience)
    if again is None:
        _settle(row, DeliveryStatus.FAILED, now)
    else:
        row.status, row.next_attempt_at = PENDING, again
        count("retried")


def release(claims: Collection[Claimed]) -> None:
    """Give back deliveries whose requests were cut off on purpose, so that they are due again at once."""
    owned = Q(pk__in=[claimed.pk for claimed in claims]) & Q(lease_owner__in={c.lease_owner for c in claims})
    WebhookDelivery.objects.filter(owned, status=DELIVERING).update(
        status=PENDING, lease_owner=None, lease_expires_at=None
    )


def take_back(now: datetime, *, everything: bool = False) -> int:
    """Make deliveries due again whose lease has expired, and return how many.

    With `everything` every lease counts as expired: the caller knows that no other process is alive.
    """
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
            # A delivery that never failed is due at once: most likely the server crashed, not the receiver.
            again = now if not row.failures else None
            _failed(row, Verdict.RETRY, Answer(), now, again)
            _save(row)
    return len(rows)


def next_due(*, full: Collection[str]) -> datetime | None:
    """Return when a delivery to a host that is not `full` is due next, or a lease expires; None if neither is known."""
    pending = WebhookDelivery.objects.filter(status=PENDING).exclude(host__in=full).order_by("next_attempt_at")
    leased = WebhookDelivery.objects.filter(status=DELIVERING).order_by("lease_expires_at")
    moments = [
        pending.values_list("next_attempt_at", flat=True).first(),
        leased.values_list("lease_expires_at", flat=True).first(),
    ]
    return min((moment for moment in moments if moment is not None), default=None)
