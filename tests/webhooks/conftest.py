"""What the tests of webhooks share: deliveries, receivers, a clock, a deliverer that is driven round by round."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from platform_site.access.default_workspace import ensure_first_start
from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.core import config as config_module
from platform_site.core.config import Config
from platform_site.core.database.access import in_db
from platform_site.core.project.sections import Webhooks
from platform_site.webhooks.addresses import Resolver
from platform_site.webhooks.deliverer import Deliverer
from platform_site.webhooks.endpoint_rules import target_of
from platform_site.webhooks.models import WebhookAttempt, WebhookDelivery
from platform_site.webhooks.transport import Sender
from tests.runs.conftest import _test_graphs as _test_graphs
from tests.runs.conftest import engine as engine
from tests.runs.conftest import gate as gate
from tests.runs.conftest import idle_engine as idle_engine
from tests.runs.conftest import principal as principal
from tests.runs.conftest import registry as registry
from tests.webhooks.receiving import Receiver, receiving

UseWebhooks = Callable[..., None]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        # Near to the real time: signatures are checked against that.
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def use_webhooks(registry: Any, monkeypatch: pytest.MonkeyPatch) -> UseWebhooks:
    """Serve this `webhooks` section of langgraph.json: `use_webhooks(url={...}, headers={...})`."""

    def use(disabled: bool = False, **section: Any) -> None:
        served: Config = registry.config if hasattr(registry, "config") else config_module.config()
        http = served.http.model_copy(update={"disable_webhooks": disabled})
        changed = replace(served, webhooks=Webhooks.model_validate(section), http=http)
        monkeypatch.setattr(config_module, "_current", changed)

    use()
    return use


@pytest.fixture
def loopback(use_webhooks: UseWebhooks) -> None:
    """Receivers on this machine may be called, by `http`."""
    use_webhooks(url={"disable_loopback": False, "require_https": False})


@pytest.fixture
def workspace(transactional_db: None) -> Workspace:
    ensure_first_start()
    return Workspace.objects.get(slug="default")


@pytest.fixture
def owner(workspace: Workspace) -> Principal:
    return Principal(workspace_id=workspace.pk, display_name="mara")


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def deliver_to(workspace: Workspace, url: str, now: datetime, **fields: Any) -> WebhookDelivery:
    """A delivery that is due."""
    target = target_of(url)
    return WebhookDelivery.objects.create(
        **{
            "workspace": workspace,
            "run_id": uuid4(),
            "thread_id": uuid4(),
            "url": url,
            "host": target.host,
            "address": target.address,
            "endpoint_digest": target.endpoint_digest(workspace.pk),
            "event": "run.success",
            "body": '{"status":"success"}',
            "created_at": now,
            "next_attempt_at": now,
            **fields,
        }
    )


async def owe(workspace: Workspace, url: str, now: datetime, **fields: Any) -> WebhookDelivery:
    return await in_db(deliver_to, workspace, url, now, **fields)


@pytest.fixture
def deliverer(workspace: Workspace, clock: Clock) -> Deliverer:
    return Deliverer(Sender(Resolver()), now=clock)


async def work(deliverer: Deliverer) -> None:
    """One round, and all that it has begun."""
    await deliverer.round()
    await deliverer.idle()


async def again(delivery: WebhookDelivery) -> WebhookDelivery:
    """The row as it is now."""
    return await in_db(lambda: WebhookDelivery.objects.get(pk=delivery.pk))


async def attempts(delivery: WebhookDelivery) -> list[WebhookAttempt]:
    return await in_db(lambda: list(WebhookAttempt.objects.filter(delivery_id=delivery.pk)))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
