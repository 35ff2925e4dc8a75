"""The pages of webhooks: what was delivered, where to, and the secret that signs it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from platform_site.access.principal import Principal
from platform_site.console.finding import as_uuid
from platform_site.console.shell import VIEWER_SENTENCE, PageRequest, acting, page, render_page
from platform_site.core.errors import ApiError, NotFound
from platform_site.webhooks import selectors, services
from platform_site.webhooks.models import DeliveryStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from runs.pages.browse import find_run
from runs.status import Shown

PER_PAGE = 50
ENDPOINTS_SHOWN = 30
WORDS = {
    DeliveryStatus.PENDING: "Waiting",
    DeliveryStatus.DELIVERING: "Sending",
    DeliveryStatus.DELIVERED: "Delivered",
    DeliveryStatus.FAILED: "Failed",
    DeliveryStatus.HELD: "Held back",
}
_LOOKS = {
    DeliveryStatus.PENDING: ("g-queued", "mute"),
    DeliveryStatus.DELIVERING: ("g-live", "live"),
    DeliveryStatus.DELIVERED: ("g-ok", "ok"),
    DeliveryStatus.FAILED: ("g-bad", "bad"),
    DeliveryStatus.HELD: ("g-paused", "mute"),
}


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as a list shows it."""

    delivery: WebhookDelivery
    shown: Shown
    # When the delivery is sent next, or None.
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt as the page shows it."""

    attempt: WebhookAttempt
    arrived: bool
    seconds: float
    request: list[tuple[str, str]]
    response: list[tuple[str, str]]


def delivery_row(delivery: WebhookDelivery) -> DeliveryRow:
    status = DeliveryStatus(delivery.status)
    word = "Trying again" if status == DeliveryStatus.PENDING and delivery.failures else WORDS[status]
    glyph, tone = _LOOKS[status]
    next_at = delivery.next_attempt_at if status == DeliveryStatus.PENDING else None
    return DeliveryRow(delivery, Shown(word, glyph, tone, delivery.status), next_at)


def deliveries_of_run(principal: Principal, run_id: UUID) -> list[DeliveryRow]:
    """Return the last five deliveries of a run, newest first."""
    return [delivery_row(row) for row in selectors.delivery_list(principal, run_id=run_id, limit=5)]


@page
def webhook_list(request: PageRequest) -> HttpResponse:
    return render_page(request, "webhooks/list.html", _list_context(request))


def _list_context(request: PageRequest) -> dict[str, Any]:
    principal, status = request.principal, request.GET.get("status", "")
    status = status if status in DeliveryStatus.values else ""
    run_id, number = as_uuid(request.GET.get("run", "")), _number(request.GET.get("page", "1"))
    endpoint = _endpoint(principal, request.GET.get("endpoint", ""))
    found = selectors.delivery_list(
        principal, status=status, run_id=run_id, endpoint=endpoint, limit=PER_PAGE + 1, offset=(number - 1) * PER_PAGE
    )
    return {
        "nav": "operations",
        "status": status,
        "words": [(key.value, word) for key, word in WORDS.items()],
        "run_id": run_id,
        "endpoint": endpoint,
        "filtered": bool(status or run_id or endpoint),
        "rows": [delivery_row(row) for row in found[:PER_PAGE]],
        "before": number - 1,
        "after": number + 1 if len(found) > PER_PAGE else 0,
        "endpoints": selectors.endpoint_list(principal)[:ENDPOINTS_SHOWN],
        "secret_count": len(selectors.secrets_in_force(principal)),
        "from_environment": services.FROM_ENVIRONMENT if settings.WEBHOOK_SECRETS else "",
        "roll_hours": services.ROLL_HOURS,
        "viewer_sentence": VIEWER_SENTENCE,
    }


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and int(text[:6]) > 0 and len(text) < 7 else 1


def _endpoint(principal: Principal, text: str) -> WebhookEndpoint | None:
    if not text:
        return None
    pk = int(text) if text.isdecimal() and len(text) < 18 else 0
    found = selectors.endpoint_list(principal).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


@page
def webhook_detail(request: PageRequest, delivery_id: UUID) -> HttpResponse:
    try:
        delivery, attempts = selectors.delivery_get(request.principal, delivery_id)
    except NotFound:
        raise Http404 from None
    endpoints = selectors.endpoint_list(request.principal)
    context = {
        "nav": "operations",
        "delivery": delivery,
        "row": delivery_row(delivery),
        "run": find_run(request.principal, delivery.run_id),
        "endpoint": endpoints.filter(digest=delivery.endpoint_digest).first(),
        "attempts": [_attempt_row(attempt) for attempt in reversed(attempts)],
        "body": orjson.loads(delivery.body),
        "is_sending": delivery.status == DeliveryStatus.DELIVERING,
        "now": timezone.now(),
        "viewer_sentence": VIEWER_SENTENCE,
    }
    return render_page(request, "webhooks/delivery.html", context)


def _attempt_row(attempt: WebhookAttempt) -> AttemptRow:
    code = attempt.response_status
    return AttemptRow(
        attempt,
        code is not None and 200 <= code < 300 and not attempt.error,
        attempt.milliseconds / 1000,
        _pairs(attempt.request_headers),
        _pairs(attempt.response_headers),
    )


def _pairs(headers: Any) -> list[tuple[str, str]]:
    """Return headers in their order, from an object or a list of pairs."""
    listed = headers.items() if isinstance(headers, dict) else headers or []
    return [(str(name), str(value)) for name, value in listed]


@require_POST
@page
def webhook_redeliver(request: PageRequest, delivery_id: UUID) -> HttpResponse:
    try:
        services.delivery_redeliver(acting(request), delivery_id)
    except NotFound:
        raise Http404 from None
    except ApiError as error:
        messages.error(request, f"It was not sent again: {error.detail}.")
    else:
        messages.success(request, "It is being sent again.")
    return redirect("webhook", delivery_id)


@require_POST
@page
def endpoint_switch(request: PageRequest, endpoint_id: int, act: str) -> HttpResponse:
    """Enable or disable an endpoint."""
    principal = acting(request)
    try:
        if act == "enable":
            held = services.endpoint_enable(principal, endpoint_id)
            messages.success(request, f"Enabled. {held:,} held back, on their way now." if held else "Enabled.")
        else:
            services.endpoint_disable(principal, endpoint_id)
            messages.success(request, "Disabled: what comes is held back.")
    except NotFound:
        raise Http404 from None
    return redirect("webhooks")


@require_POST
@page
def secret_roll(request: PageRequest) -> HttpResponse:
    """Make a new signing secret. This answer is the only one that shows it."""
    principal = acting(request)
    try:
        secret = services.secret_roll(principal, request.workspace)
    except ApiError as error:
        messages.error(request, f"The secret was not rolled. {error.detail}")
        return redirect("webhooks")
    response = render_page(request, "webhooks/list.html", _list_context(request) | {"new_secret": secret})
    response.headers["Cache-Control"] = "no-store"
    return response
