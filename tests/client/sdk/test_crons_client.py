"""Every method of the crons client with all of its parameters, and what each of them does."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from langgraph_sdk.errors import BadRequestError, NotFoundError

from tests.client.sdk.covering import every_parameter

# A parameter as good as any other until it is gone.
pytestmark = pytest.mark.filterwarnings("ignore:`checkpoint_during` is deprecated")

YEARLY = "0 0 1 1 *"
END = datetime(2037, 1, 1, tzinfo=UTC)
# What both ways to make a cron are asked for; they stand in its payload as they were sent.
ASKED: dict[str, Any] = {
    "schedule": YEARLY,
    "input": {"count": 1},
    "config": {"tags": ["t"], "recursion_limit": 50},
    "context": {"tone": "warm"},
    "checkpoint_during": True,
    "interrupt_before": ["double"],
    "interrupt_after": "*",
    "multitask_strategy": "interrupt",
    "enabled": False,
    "stream_mode": ["updates", "values"],
    "stream_subgraphs": True,
    "stream_resumable": True,
    "durability": "sync",
}


@pytest.fixture
async def thread(client: Any) -> str:
    return str((await client.threads.create())["thread_id"])


@pytest.fixture
async def cron(client: Any) -> dict[str, Any]:
    made: dict[str, Any] = await client.crons.create(
        "counter", schedule=YEARLY, input={"count": 1}, metadata={"mark": uuid4().hex}
    )
    return made


def fits(cron: dict[str, Any]) -> None:
    """The cron is what `ASKED` and the metadata ask for."""
    payload = {**cron["payload"], "config": dict(cron["payload"]["config"])}
    assert payload["config"].pop("configurable") == {"cron_id": cron["cron_id"]}
    assert {name: payload[name] for name in ASKED} == ASKED
    assert (cron["metadata"], cron["payload"]["metadata"]) == ({"of": "the cron"}, {"of": "the cron"})
    assert (cron["schedule"], cron["timezone"], cron["enabled"]) == (YEARLY, "America/New_York", False)
    assert cron["next_run_date"].endswith("-01-01T05:00:00+00:00")
    assert cron["end_time"] == END.isoformat()


async def test_create_for_thread(sdk: Any, thread: str) -> None:
    with every_parameter(sdk.crons.create_for_thread) as create:
        await create.refused(
            "[Ww]ebhook", thread_id=thread, assistant_id="counter", schedule=YEARLY, webhook="ftp://x.y"
        )
        made = await create(
            thread_id=thread,
            assistant_id="counter",
            metadata={"of": "the cron"},
            end_time=END,
            timezone=ZoneInfo("America/New_York"),
            **ASKED,
        )
    fits(made)
    assert (made["thread_id"], made["on_run_completed"]) == (thread, None)


async def test_create(sdk: Any) -> None:
    with every_parameter(sdk.crons.create) as create:
        await create.refused("[Ww]ebhook", assistant_id="counter", schedule=YEARLY, webhook="ftp://x.y")
        made = await create(
            assistant_id="counter",
            metadata={"of": "the cron"},
            end_time=END,
            timezone="America/New_York",
            on_run_completed="keep",
            **ASKED,
        )
    fits(made)
    assert (made["thread_id"], made["on_run_completed"]) == (None, "keep")


async def test_update(sdk: Any, cron: dict[str, Any]) -> None:
    asked = {name: value for name, value in ASKED.items() if name not in ("checkpoint_during", "multitask_strategy")}
    with every_parameter(sdk.crons.update) as update:
        await update.refused("[Ww]ebhook", cron_id=cron["cron_id"], webhook="ftp://x.y")
        changed = await update(
            cron_id=cron["cron_id"],
            metadata={"of": "the cron"},
            end_time=END,
            timezone="America/New_York",
            on_run_completed="keep",
            **asked,
        )
        cleared = await update(cron_id=cron["cron_id"], end_time=None)
    assert changed["metadata"] == {**cron["metadata"], "of": "the cron"}
    assert changed["on_run_completed"] == "keep"
    fits({**changed, "metadata": {"of": "the cron"}, "payload": {**ASKED, **changed["payload"]}})
    assert cleared["end_time"] is None
    with pytest.raises(BadRequestError, match="Request body cannot be empty"):
        await update(cron_id=cron["cron_id"])
    with pytest.raises(NotFoundError):
        await update(cron_id=str(uuid4()), enabled=True)


async def test_search(sdk: Any, client: Any, thread: str) -> None:
    mark = {"mark": uuid4().hex}
    assistant = (await client.assistants.create("counter"))["assistant_id"]
    made = [
        await client.crons.create_for_thread(thread, assistant, schedule=YEARLY, metadata=mark, enabled=False)
        for _ in range(3)
    ]
    query = {"assistant_id": assistant, "thread_id": thread, "enabled": False, "metadata": mark}
    with every_parameter(sdk.crons.search) as search:
        found = await search(**query, limit=2, offset=1, sort_by="created_at", sort_order="asc", select=["cron_id"])
        nothing = await search(**{**query, "enabled": True})
    assert found == [{"cron_id": cron["cron_id"]} for cron in made[1:]]
    assert nothing == []


async def test_count(sdk: Any, client: Any, thread: str) -> None:
    mark = {"mark": uuid4().hex}
    made = await client.crons.create_for_thread(thread, "counter", schedule=YEARLY, metadata=mark)
    with every_parameter(sdk.crons.count) as count:
        assert await count(assistant_id=made["assistant_id"], thread_id=thread, metadata=mark) == 1
        assert await count(metadata={"mark": "none"}) == 0


async def test_delete(sdk: Any, client: Any, cron: dict[str, Any]) -> None:
    with every_parameter(sdk.crons.delete) as delete:
        await delete(cron_id=cron["cron_id"])
        with pytest.raises(NotFoundError):
            await delete(cron_id=cron["cron_id"])
    assert await client.crons.search(metadata=cron["metadata"]) == []
