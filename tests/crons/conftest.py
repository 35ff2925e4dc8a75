"""What the tests of crons share: a workspace with the test graphs, crons to make, and their history."""

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import orjson
import pytest

from crons import services
from crons.models import Cron, CronTick
from crons.schemas import CronCreate, CronCreateStateless
from platform_site.access.principal import Principal
from platform_site.webhooks.addresses import Resolver
from runs.models import Run
from tests.api_client import api as api
from tests.runs.conftest import _test_graphs as _test_graphs
from tests.runs.conftest import engine as engine
from tests.runs.conftest import idle_engine as idle_engine
from tests.runs.conftest import principal as principal
from tests.runs.conftest import registry as registry
from threads.models import Thread


def at(text: str) -> datetime:
    """A moment; in UTC unless the text has an offset."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def new_thread(principal: Principal) -> UUID:
    return Thread.objects.create(workspace_id=principal.workspace_id).thread_id


def create(
    principal: Principal, schedule: str = "* * * * *", *, thread: UUID | None = None, due: str = "", **fields: Any
) -> Cron:
    """Make a cron, without a thread unless one is given; `due` is when it is due first."""
    schema = CronCreateStateless if thread is None else CronCreate
    body = schema(**{"assistant_id": "log", "schedule": schedule, **fields})
    made = orjson.loads(services.cron_create(principal, thread, body))
    if due:
        Cron.objects.filter(pk=made["cron_id"]).update(next_run_date=at(due))
    return Cron.objects.get(pk=made["cron_id"])


def ticks(cron: Cron) -> list[CronTick]:
    """The ticks of a cron, the earliest first."""
    return list(CronTick.objects.filter(cron=cron).order_by("due_at"))


def history(cron: Cron) -> list[tuple[str, str]]:
    """Time and outcome of each tick, the earliest first."""
    return [(f"{tick.due_at:%H:%M:%S}", tick.outcome) for tick in ticks(cron)]


def runs_of(cron: Cron) -> list[Run]:
    """The runs that a cron has made, in their order."""
    return list(Run.objects.filter(metadata__covers={"cron_id": str(cron.cron_id)}).order_by("sequence"))


def fired(times: Iterable[str]) -> list[tuple[str, str]]:
    """The history of a cron that was fired at these times and at no other."""
    return [(time, "fired") for time in times]


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host of a webhook has a public address; no name is looked up."""

    async def lookup(self: Resolver, host: str, port: int) -> list[Any]:
        return [ip_address("93.184.216.34")]

    monkeypatch.setattr(Resolver, "lookup", lookup)
