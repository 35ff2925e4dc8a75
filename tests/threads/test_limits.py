"""How large a state, an answer and a workspace may be; each refusal names its limit and its setting."""

from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core import quotas
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.interface import Checkpoints
from platform_site.core.checkpoints.sqlite import rows as checkpoint_rows
from platform_site.core.database.access import IS_POSTGRES, in_db
from platform_site.core.errors import StateTooLarge
from runs.models import Run
from tests.api_client import ApiClient
from tests.core.checkpointing import save, thread_config
from tests.core.test_checkpoints import store as store
from tests.postgres import postgres_server as postgres_server
from tests.postgres import postgres_url as postgres_url
from tests.runs.conftest import run_to_end
from tests.runs.graphs import script
from tests.threads.conftest import Make

LIMIT = 20_000


@pytest.fixture
def small_states(settings: Any) -> None:
    settings.MAX_STATE_BYTES = LIMIT


async def state(api: ApiClient, thread_id: Any) -> Any:
    return (await api.get(f"/threads/{thread_id}/state")).json()["values"]


@pytest.mark.usefixtures("small_states")
async def test_a_run_whose_state_grows_too_large_fails_with_a_sentence(api: ApiClient, principal: Principal) -> None:
    before = await run_to_end(principal, "log", input={"log": ["small"]})
    run = await run_to_end(principal, "log", before.thread_id, input={"log": ["x" * LIMIT]})
    assert (run.status, run.error_class) == ("error", "StateTooLarge")
    assert f"at most {LIMIT} bytes" in run.error_message
    assert "MAX_STATE_BYTES" in run.error_message
    # Nothing of it was stored.
    assert (await state(api, before.thread_id))["log"] == ["small", "one", "two"]
    later = await run_to_end(principal, "log", before.thread_id, input={"log": ["more"]})
    assert later.status == "success"


@pytest.mark.usefixtures("small_states")
async def test_what_a_node_returns_is_part_of_it(principal: Principal) -> None:
    with script("grow", lambda *_: "x" * LIMIT):
        run = await run_to_end(principal, "scripted", input={"do": "grow"})
    assert (run.status, run.error_class) == ("error", "StateTooLarge")
    assert "x" * 100 not in str(run.thread.values)


@pytest.mark.usefixtures("small_states")
async def test_a_stateless_run_has_the_same_limit(principal: Principal) -> None:
    run = await run_to_end(principal, "log", new=False, input={"log": ["x" * LIMIT]}, on_completion="keep")
    assert run.error_class == "StateTooLarge"


@pytest.mark.usefixtures("small_states")
async def test_a_change_by_hand_is_refused_and_changes_nothing(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["small"]})
    before = await state(api, run.thread_id)
    answer = await api.post(
        f"/threads/{run.thread_id}/state", json={"values": {"log": ["x" * LIMIT]}, "as_node": "one"}
    )
    assert answer.status_code == 413
    assert "MAX_STATE_BYTES" in answer.json()["detail"]
    assert await state(api, run.thread_id) == before


@pytest.mark.usefixtures("small_states", "principal")
async def test_supersteps_that_are_too_large_leave_no_thread(api: ApiClient) -> None:
    steps = [{"updates": [{"values": {"log": ["x" * LIMIT]}, "as_node": "__start__"}]}]
    answer = await api.post("/threads", json={"metadata": {"graph_id": "log"}, "supersteps": steps})
    assert answer.status_code == 413
    assert (await api.post("/threads/count", json={})).json() == 0


async def test_both_databases_refuse_a_state_and_writes_that_are_too_large(store: Checkpoints, settings: Any) -> None:
    settings.MAX_STATE_BYTES = LIMIT
    saver, thread = store.saver(), uuid4()
    kept = await save(saver, thread_config(thread), small={"a": 1})
    half = "x" * (LIMIT // 2 + 10)
    with pytest.raises(StateTooLarge):
        await save(saver, kept, one={"a": half}, other={"b": half})
    with pytest.raises(StateTooLarge):
        await saver.aput_writes(kept, [("one", "x" * LIMIT)], "task")
    found = await saver.aget_tuple(thread_config(thread))
    assert found is not None
    assert found.config == kept
    assert not found.pending_writes


async def test_no_limit_is_no_limit(principal: Principal, settings: Any) -> None:
    settings.MAX_STATE_BYTES = 0
    assert (await run_to_end(principal, "log", input={"log": ["x" * LIMIT]})).status == "success"


async def test_a_history_ends_early_and_goes_on_where_it_ended(
    api: ApiClient, principal: Principal, settings: Any
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x" * 1000]})
    path = f"/threads/{run.thread_id}/history"
    whole = (await api.get(f"{path}?limit=9")).json()
    settings.MAX_ANSWER_BYTES = 2000
    found: list[Any] = []
    while len(found) < len(whole):
        before = {"before": found[-1]["checkpoint_id"]} if found else {}
        page = (await api.post(path, json={"limit": 9, **before})).json()
        assert 0 < len(page) < len(whole)
        found += page
    assert found == whole


@pytest.mark.parametrize("what", ["threads", "assistants", "crons"])
async def test_a_search_ends_early_and_says_where_to_go_on(
    api: ApiClient, principal: Principal, make: Make, settings: Any, what: str
) -> None:
    path = f"/{what}" if what != "crons" else "/runs/crons"
    for number in range(4):
        metadata = {"text": "x" * 1000, "number": number}
        body = {"graph_id": "log"} if what == "assistants" else {"assistant_id": "log", "schedule": "@daily"}
        await api.post(path, json={**(body if what != "threads" else {}), "metadata": metadata})
    settings.MAX_ANSWER_BYTES = 1500
    found: list[int] = []
    offset: str | None = "0"
    while offset is not None:
        answer = await api.post(f"{path}/search", json={"limit": 100, "offset": int(offset)})
        found += [row["metadata"]["number"] for row in answer.json() if "number" in row["metadata"]]
        offset = answer.headers.get("X-Pagination-Next")
        assert len(answer.json()) < 4 or what == "assistants"
    assert sorted(found) == [0, 1, 2, 3]


async def test_a_list_of_runs_and_a_search_of_the_store_end_early(
    api: ApiClient, principal: Principal, settings: Any
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x" * 1000]})
    for _ in range(3):
        await run_to_end(principal, "log", run.thread_id, input={"log": ["x" * 1000]})
    place = uuid4().hex
    for key in "abcd":
        await api.put("/store/items", json={"namespace": [place], "key": key, "value": {"text": "x" * 1000}})
    settings.MAX_ANSWER_BYTES = 3000
    assert 0 < len((await api.get(f"/threads/{run.thread_id}/runs")).json()) < 4
    found = await api.post("/store/items/search", json={"namespace_prefix": [place]})
    assert 0 < len(found.json()["items"]) < 4


@pytest.mark.parametrize("what", ["crons", "threads"])
async def test_a_workspace_has_as_many_as_it_may_have(
    api: ApiClient, principal: Principal, settings: Any, what: str
) -> None:
    settings.MAX_CRONS, settings.MAX_THREADS = 2, 2
    path = "/runs/crons" if what == "crons" else "/threads"
    body = {"assistant_id": "log", "schedule": "@daily"} if what == "crons" else {}
    made = [await api.post(path, json=body) for _ in range(3)]
    assert [answer.status_code for answer in made] == [200, 200, 409]
    assert f"MAX_{what.upper()}" in made[-1].json()["detail"]
    first = made[0].json()
    await api.delete(f"{path}/{first['cron_id' if what == 'crons' else 'thread_id']}")
    assert (await api.post(path, json=body)).status_code == 200


async def test_a_thread_that_is_there_already_is_found_at_the_limit(
    api: ApiClient, principal: Principal, settings: Any
) -> None:
    settings.MAX_THREADS = 1
    made = (await api.post("/threads", json={})).json()
    again = {"thread_id": made["thread_id"], "if_exists": "do_nothing"}
    assert (await api.post("/threads", json=again)).json()["thread_id"] == made["thread_id"]
    answer = await api.post(f"/threads/{uuid4()}/runs", json={"assistant_id": "log", "if_not_exists": "create"})
    assert answer.status_code == 409
    assert await in_db(Run.objects.count) == 0


async def test_a_copy_is_a_thread_like_any_other(
    api: ApiClient, principal: Principal, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x"]})
    settings.MAX_THREADS = 1
    answer = await api.post(f"/threads/{run.thread_id}/copy")
    assert (answer.status_code, "MAX_THREADS" in answer.text) == (409, True)
    settings.MAX_THREADS, settings.MIN_FREE_DISK_BYTES = 0, 10**18
    monkeypatch.setattr(quotas, "_data_disk", quotas.FreeDisk())
    assert (await api.post(f"/threads/{run.thread_id}/copy")).status_code == (200 if IS_POSTGRES else 507)


@pytest.mark.skipif(IS_POSTGRES, reason="the file of checkpoints is SQLite's")
async def test_a_listing_reads_few_large_checkpoints_at_a_time(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x" * 1000]})
    read, sizes = checkpoint_rows.read_page, []

    def spied(connection: Any, serde: Any, ids: Any) -> Any:
        sizes.append(len(ids))
        return read(connection, serde, ids)

    monkeypatch.setattr(checkpoint_rows, "PAGE_BYTES", 100)
    monkeypatch.setattr(checkpoint_rows, "read_page", spied)
    monkeypatch.setattr("platform_site.core.checkpoints.sqlite.saver.read_page", spied)
    config: Any = {"configurable": {"thread_id": str(run.thread_id)}}
    found = [item async for item in checkpoints().saver().alist(config)]
    assert sizes == [1] * len(found)
    assert len(found) > 2
