"""`ttl` of a thread: what it may be, what is shown of it, and what starts its time anew."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.config import Config, config
from platform_site.core.database.access import in_db
from platform_site.core.project.sections import Checkpointer, CheckpointerTTL
from tests.api_client import ApiClient
from tests.runs.conftest import claim, create, execute
from tests.threads.conftest import Make
from threads import time_to_live
from threads.models import Thread


@pytest.fixture
def default_ttl(monkeypatch: pytest.MonkeyPatch) -> CheckpointerTTL:
    """`checkpointer.ttl` of `langgraph.json` is set."""
    ttl = CheckpointerTTL(strategy="keep_latest", default_ttl=90.0, sweep_interval_minutes=2.0, sweep_limit=7)
    served = replace(config(), checkpointer=Checkpointer(ttl=ttl))
    serve(monkeypatch, served)
    return ttl


def serve(monkeypatch: pytest.MonkeyPatch, served: Config) -> None:
    monkeypatch.setattr(time_to_live, "config", lambda: served)


async def shown(api: ApiClient, thread_id: Any) -> dict[str, Any]:
    thread: dict[str, Any] = (await api.get(f"/threads/{thread_id}?include=ttl")).json()
    return thread


def after(thread: dict[str, Any], minutes: float) -> str:
    end = datetime.fromisoformat(thread["updated_at"]) + timedelta(minutes=minutes)
    return end.isoformat(timespec="microseconds")


# --- Asked for -----------------------------------------------------------------------------------------


async def test_thread_shows_what_it_was_given(api: ApiClient, make: Make) -> None:
    made = await make(ttl={"ttl": 0.5, "strategy": "keep_latest"})
    assert made["ttl"] == {"strategy": "keep_latest", "ttl_minutes": 0.5, "expires_at": after(made, 0.5)}
    assert (await shown(api, made["thread_id"]))["ttl"] == made["ttl"]


async def test_strategy_is_delete_unless_another_is_named(make: Make) -> None:
    assert (await make(ttl={"ttl": 60}))["ttl"]["strategy"] == "delete"


async def test_thread_lives_for_ever_unless_it_is_given_a_time(api: ApiClient, make: Make) -> None:
    made = await make()
    assert "ttl" not in made
    assert (await shown(api, made["thread_id"]))["ttl"] is None


async def test_ttl_is_not_shown_to_those_who_do_not_ask(api: ApiClient, make: Make) -> None:
    made = await make(ttl={"ttl": 60})
    assert "ttl" not in (await api.get(f"/threads/{made['thread_id']}")).json()
    [found] = (await api.post("/threads/search", json={})).json()
    assert "ttl" not in found


async def test_search_shows_it_to_those_who_ask(api: ApiClient, make: Make) -> None:
    made = await make(ttl={"ttl": 60})
    query = {"include": ["ttl"], "extract": {"a": "metadata.a"}, "select": ["thread_id"]}
    [found] = (await api.post("/threads/search", json=query)).json()
    assert found == {"thread_id": made["thread_id"], "ttl": made["ttl"], "extracted": {"a": None}}


@pytest.mark.parametrize("query", ["include=ttl,zz", "include=ttl&include=zz"])
async def test_nothing_else_can_be_included(api: ApiClient, make: Make, query: str) -> None:
    made = await make()
    answer = await api.get(f"/threads/{made['thread_id']}?{query}")
    assert (answer.status_code, answer.json()["detail"]) == (422, "Invalid include: ['zz']")


@pytest.mark.parametrize("operation", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("ttl", "detail"),
    [
        (5, '5 is not of type "object"'),
        (None, 'null is not of type "object"'),
        ({"ttl": 0}, "0 is less than or equal to the minimum of 0"),
        ({"ttl": -0.5}, "-0.5 is less than or equal to the minimum of 0"),
        ({"ttl": 10**40}, "1e+40 is greater than the maximum of 52560000"),
        ({"ttl": "5"}, '"5" is not of type "number"'),
        ({"ttl": True}, 'true is not of type "number"'),
        ({"ttl": 5, "strategy": "drop"}, '"drop" is not one of "delete" or "keep_latest"'),
        ({"strategy": "delete"}, '`ttl` needs the minutes in its field "ttl": this server has no default for them'),
    ],
)
async def test_bad_ttl(api: ApiClient, make: Make, operation: str, ttl: Any, detail: str) -> None:
    path = "/threads" if operation == "POST" else f"/threads/{(await make())['thread_id']}"
    answer = await api.request(operation, path, json={"ttl": ttl})
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


# --- Changed -------------------------------------------------------------------------------------------


async def test_patch_gives_a_time_and_begins_it(api: ApiClient, make: Make) -> None:
    made = await make(ttl={"ttl": 600})
    answer = (await api.patch(f"/threads/{made['thread_id']}", json={"ttl": {"ttl": 6, "strategy": "delete"}})).json()
    assert answer["ttl"] == {"strategy": "delete", "ttl_minutes": 6, "expires_at": after(answer, 6)}
    assert (await shown(api, made["thread_id"]))["ttl"] == answer["ttl"]


async def test_patch_changes_only_what_it_names(api: ApiClient, make: Make) -> None:
    path = f"/threads/{(await make(ttl={'ttl': 600, 'strategy': 'keep_latest'}))['thread_id']}"
    longer = (await api.patch(path, json={"ttl": {"ttl": 700}})).json()["ttl"]
    assert (longer["ttl_minutes"], longer["strategy"]) == (700, "keep_latest")
    other = (await api.patch(path, json={"ttl": {"strategy": "delete"}})).json()["ttl"]
    assert (other["ttl_minutes"], other["strategy"]) == (700, "delete")
    assert "ttl" not in (await api.patch(path, json={"ttl": {}})).json()


async def test_every_activity_starts_the_time_anew(api: ApiClient, principal: Principal, make: Make) -> None:
    path = f"/threads/{(await make(ttl={'ttl': 60}, metadata={'graph_id': 'log'}))['thread_id']}"
    ends = [(await shown(api, path.rpartition("/")[2]))["ttl"]["expires_at"]]

    async def moved() -> bool:
        thread = await shown(api, path.rpartition("/")[2])
        assert thread["ttl"]["expires_at"] == after(thread, 60)
        ends.append(thread["ttl"]["expires_at"])
        return bool(ends[-1] > ends[-2])

    await api.patch(path, json={"metadata": {"a": 1}})
    assert await moved()
    await api.post(f"{path}/messages", json={"role": "user", "content": "hi"})
    await api.post(f"{path}/state", json={"values": {"log": ["by hand"]}})
    assert await moved()
    run = (await api.post(f"{path}/runs", json={"assistant_id": "log", "input": {"log": []}})).json()
    assert await moved()
    await execute(await in_db(claim))
    assert await moved()
    await api.get(f"{path}/state")
    assert not await moved()
    assert (await api.get(f"{path}/runs/{run['run_id']}")).json()["status"] == "success"


# --- The default ----------------------------------------------------------------------------------------


def minutes(thread: Thread) -> tuple[float | None, str, bool]:
    return thread.ttl_minutes, thread.ttl_strategy, thread.expires_at is not None


DEFAULT = (90.0, "keep_latest", True)
NEVER = (None, "delete", False)


async def test_default_is_for_every_new_thread(
    api: ApiClient, principal: Principal, make: Make, default_ttl: CheckpointerTTL
) -> None:
    made = await make()
    copied = (await api.post(f"/threads/{made['thread_id']}/copy")).json()["thread_id"]
    own = str(uuid4())
    await api.post(f"/threads/{own}/runs", json={"assistant_id": "log", "if_not_exists": "create"})
    kept = (await api.post("/runs", json={"assistant_id": "log", "on_completion": "keep"})).json()["thread_id"]
    for thread_id in (made["thread_id"], copied, own, kept):
        assert minutes(await in_db(Thread.objects.get, pk=thread_id)) == DEFAULT


async def test_own_ttl_counts_before_the_default(make: Make, default_ttl: CheckpointerTTL) -> None:
    assert (await make(ttl={"ttl": 5}))["ttl"]["strategy"] == "delete"
    only_strategy = (await make(ttl={"strategy": "delete"}))["ttl"]
    assert (only_strategy["strategy"], only_strategy["ttl_minutes"]) == ("delete", 90)


async def test_run_gives_the_default_to_an_older_thread(
    principal: Principal, make: Make, request: pytest.FixtureRequest
) -> None:
    old, idle, own = [UUID((await make(**fields))["thread_id"]) for fields in ({}, {}, {"ttl": {"ttl": 5}})]
    await in_db(create, principal, "log", old)
    assert minutes(await in_db(Thread.objects.get, pk=old)) == NEVER
    request.getfixturevalue("default_ttl")
    for thread_id in (old, own):
        await in_db(create, principal, "log", thread_id)
    assert minutes(await in_db(Thread.objects.get, pk=old)) == DEFAULT
    assert minutes(await in_db(Thread.objects.get, pk=idle)) == NEVER
    assert minutes(await in_db(Thread.objects.get, pk=own)) == (5.0, "delete", True)


async def test_copy_does_not_take_the_time_of_its_source(api: ApiClient, make: Make) -> None:
    source = (await make(ttl={"ttl": 5}))["thread_id"]
    copied = (await api.post(f"/threads/{source}/copy")).json()["thread_id"]
    assert minutes(await in_db(Thread.objects.get, pk=copied)) == NEVER


def test_sweep_is_as_often_as_the_file_says(default_ttl: CheckpointerTTL) -> None:
    assert time_to_live.default_sweep() == time_to_live.Sweep(interval=120, limit=7)


def test_sweep_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, replace(config(), checkpointer=None))
    assert time_to_live.default_sweep() == time_to_live.Sweep(interval=300, limit=1000)
