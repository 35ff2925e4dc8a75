"""The deliverer: a background task that claims due deliveries and sends them, many at a time and few to each host.

A round claims and returns. Requests go on beside it, so a receiver that hangs holds up its own deliveries only.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache

from django.conf import settings
from django.utils import timezone

from platform_site.core.background.tasks import Task, background
from platform_site.core.config import config
from platform_site.core.database.access import IS_POSTGRES, in_db, read_db
from platform_site.core.errors import Unprocessable
from platform_site.core.project.sections import Webhooks
from platform_site.webhooks import claims, removal
from platform_site.webhooks.addresses import Resolver
from platform_site.webhooks.claims import Claimed
from platform_site.webhooks.endpoint_rules import rules_for, target_of
from platform_site.webhooks.outbox import TASK
from platform_site.webhooks.retries import Answer, Verdict, reason, verdict
from platform_site.webhooks.signatures import signed_headers
from platform_site.webhooks.transport import Sender

logger = logging.getLogger("switchyard.webhooks")

RETENTION_SECONDS = 3600.0
# How long requests under way may go on when the server ends.
GRACE_SECONDS = 3.0
HIDDEN = "***"


class UnusableHeader(Exception):
    """A header of `langgraph.json` that cannot be sent: its variable is not set, or the value does not fit a header."""


def variables(section: Webhooks) -> dict[str, str]:
    """Return the variables that `webhooks.headers` names. Raises `UnusableHeader`."""
    names = [name for template in section.headers.values() for name in Webhooks.TEMPLATE.findall(template)]
    for name in names:
        if name not in os.environ:
            raise UnusableHeader(f"webhooks.headers names the variable {name}, which is not set.")
    # Variables that are read from files often end with a line break.
    return {name: os.environ[name].strip() for name in names}


def custom_headers(section: Webhooks, values: dict[str, str]) -> dict[str, str]:
    """Return the headers of `webhooks.headers` with the values of their variables. Raises `UnusableHeader`."""
    headers = {}
    for name, template in section.headers.items():
        value = Webhooks.TEMPLATE.sub(lambda found: values[found[1]], template).strip()
        if not value.isascii() or not value.isprintable():
            raise UnusableHeader(f"The value of the header {name} of webhooks.headers is not one line of ASCII.")
        headers[name.lower()] = value
    return headers


class Deliverer:
    """A sender of the deliveries that it claims. It belongs to one event loop; several may share a database."""

    def __init__(self, sender: Sender, *, now: Callable[[], datetime] = timezone.now) -> None:
        self._sender = sender
        self._now = now
        self._sending: dict[asyncio.Task[None], Claimed] = {}
        self._busy: Counter[str] = Counter()
        self._is_first_round = True

    @property
    def per_host(self) -> int:
        """The largest number of requests to one host at the same time."""
        return max(1, settings.WEBHOOK_CONCURRENCY // 8)

    async def round(self) -> float | None:
        """Begin to send what is due. Return the seconds until something is due again, or None if nothing is known."""
        now = self._now()
        # On SQLite one process owns the data directory, so the process that sent before has died.
        if lost := await in_db(claims.take_back, now, everything=self._is_first_round and not IS_POSTGRES):
            logger.warning("%d webhooks had been under way in a process that died; they are sent again", lost)
        self._is_first_round = False
        if (free := settings.WEBHOOK_CONCURRENCY - len(self._sending)) > 0:
            for claimed in await in_db(claims.claim, now, limit=free, per_host=self.per_host, busy=dict(self._busy)):
                self._begin(claimed)
        # Deliveries that were held back left room: others that are due bring the next round at once.
        if len(self._sending) >= settings.WEBHOOK_CONCURRENCY:
            return None
        due = await read_db(claims.next_due, full=self._full())
        return None if due is None else max(0.0, (due - self._now()).total_seconds())

    async def close(self) -> None:
        """Wait for requests under way, cut off those that do not end, and give back their deliveries."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=GRACE_SECONDS)
        rest = dict(self._sending)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.gather(*rest, return_exceptions=True)
            await in_db(claims.release, list(rest.values()))

    async def idle(self) -> None:
        """Wait until no request is under way."""
        while self._sending:
            await asyncio.wait(self._sending)

    def _full(self) -> list[str]:
        return [host for host, load in self._busy.items() if load >= self.per_host]

    def _begin(self, claimed: Claimed) -> None:
        self._busy[claimed.host] += 1
        task = asyncio.get_running_loop().create_task(self._deliver(claimed))
        self._sending[task] = claimed
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        claimed = self._sending.pop(task)
        self._busy[claimed.host] -= 1
        if not self._busy[claimed.host]:
            del self._busy[claimed.host]
        if not task.cancelled() and (failure := task.exception()):
            logger.error(
                "webhook %s: its outcome could not be written down; it is sent again when its lease has run out",
                claimed.delivery_id,
                exc_info=failure,
            )
        # The next round uses the free place, or finds when this delivery is due again.
        background().wake(TASK)

    async def _deliver(self, claimed: Claimed) -> None:
        at = self._now()
        sent, answer, is_final = await self._attempt(claimed, at)
        if answer.status is not None and verdict(answer.status) is not Verdict.DELIVERED:
            answer.error = reason(answer.status)
        log = logger.debug if not answer.error else logger.info
        log("webhook %s to %s: %s", claimed.delivery_id, claimed.host, answer.error or answer.status)
        if not await in_db(claims.record, claimed, at, sent, answer, self._now(), stop=is_final):
            logger.warning("webhook %s: somebody else sends it by now", claimed.delivery_id)

    async def _attempt(self, claimed: Claimed, at: datetime) -> tuple[dict[str, str], Answer, bool]:
        """Send one request. Return its headers as they may be kept, the answer, and whether to give the delivery up."""
        section = config().webhooks
        try:
            target, rules = target_of(claimed.url), rules_for(claimed.url)
            values = variables(section)
            own = custom_headers(section, values)
        except Unprocessable as refused:
            return {}, Answer(error=f"Not allowed any more. {refused.detail}"), True
        except UnusableHeader as unusable:
            return {}, Answer(error=str(unusable)), False
        body = claimed.body.encode()
        shown = {
            "host": target.place,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "accept-encoding": "identity",
            "user-agent": "Switchyard",
        }
        signed = signed_headers(claimed.delivery_id, claimed.body, claimed.secrets, at)
        # The configuration may replace our User-Agent. It may not name the other headers.
        headers = {**shown, **own, **signed}
        answer = await self._sender.post(target, rules, headers, body, settings.WEBHOOK_TIMEOUT_SECONDS)
        _hide(answer, [*own.values(), *values.values()])
        return {**shown, **dict.fromkeys(own, HIDDEN), **signed, "webhook-signature": HIDDEN}, answer, False


def _hide(answer: Answer, secrets: Iterable[str]) -> None:
    """Remove values of our own headers from an answer that is kept: a receiver may send them back."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) < 4:
            continue
        answer.body = answer.body.replace(value, HIDDEN)
        answer.headers = [(name, found.replace(value, HIDDEN)) for name, found in answer.headers]
        answer.error = answer.error.replace(value, HIDDEN)


@cache
def deliverer() -> Deliverer:
    """Return the deliverer of this process."""
    # It has a resolver of its own: lookups for new runs must not hold up deliveries that are due.
    return Deliverer(Sender(Resolver()))


async def apply_retention() -> None:
    """Delete deliveries past WEBHOOK_RETENTION_DAYS, and endpoints without a delivery for that long."""
    while await in_db(removal.delete_old, timezone.now()):
        pass
    await in_db(removal.delete_old_endpoints, timezone.now())


def webhook_tasks() -> list[Task]:
    """Return the background tasks of webhooks."""
    return [
        Task(TASK, deliverer().round, settings.SWEEP_SECONDS, close=deliverer().close),
        Task("webhook-retention", apply_retention, RETENTION_SECONDS),
    ]
