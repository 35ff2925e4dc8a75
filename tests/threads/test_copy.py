"""POST /threads/{thread_id}/copy"""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from platform_site.core.errors import Conflict
from runs.engine.engine import Engine
from tests.api_client import ApiClient
from tests.client.waiting import until
from tests.runs.conftest import Gate, create, eventually, run_to_end
from tests.runs.conftest import engine as engine
from tests.runs.conftest import gate as gate
from tests.runs.graphs import script
from tests.threads.conftest import Make
from threads import copying, services
from threads.models import Thread, ThreadTombstone


async def copy(api: ApiClient, thread_id: Any) -> dict[str, Any]:
    answer = await api.post(f"/threads/{thread_id}/copy")
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def get(api: ApiClient, path: str) -> Any:
    return (await api.get(path)).json()


async def test_copy_has_the_states_the_metadata_and_no_runs(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]})
    await api.patch(f"/threads/{run.thread_id}", json={"metadata": {"owner": "me"}})

    made = await copy(api, run.thread_id)

    assert "values" not in made
    assert made["metadata"] == {"owner": "me", "graph_id": "log", "assistant_id": str(run.assistant_id)}
    new = made["thread_id"]
    assert UUID(new).version == 4
    assert await get(api, f"/threads/{new}/runs") == []
    histories = [await get(api, f"/threads/{id_}/history?limit=9") for id_ in (new, run.thread_id)]
    assert len(histories[0]) == 4
    ids = [[state["checkpoint_id"] for state in history] for history in histories]
    assert ids[0] == ids[1]
    assert {state["checkpoint"]["thread_id"] for state in histories[0]} == {new}
    assert (await get(api, f"/threads/{new}"))["values"] == {"log": ["in", "one", "two"]}


async def test_copy_goes_its_own_way(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]})
    new = (await copy(api, run.thread_id))["thread_id"]
    await run_to_end(principal, "log", UUID(new), input={"log": ["more"]})
    await api.delete(f"/threads/{run.thread_id}")
    assert (await get(api, f"/threads/{new}/state"))["values"]["log"] == ["in", "one", "two", "more", "one", "two"]


async def test_copy_of_a_waiting_thread_can_be_answered(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_below", input={"log": []})
    made = await copy(api, run.thread_id)
    assert made["status"] == "interrupted"
    await run_to_end(principal, "ask_below", UUID(made["thread_id"]), command={"resume": "yes"})
    await run_to_end(principal, "ask_below", UUID(made["thread_id"]), command={"resume": "no"})
    state = await get(api, f"/threads/{made['thread_id']}/state")
    assert state["values"]["log"] == ["before", "before", "yes", "no", "after"]
    assert (await get(api, f"/threads/{run.thread_id}"))["status"] == "interrupted"


async def test_busy_thread_is_copied_as_it_is(api: ApiClient, principal: Principal, engine: Engine, gate: Gate) -> None:
    with script("wait", gate.wait):
        run = await in_db(create, principal, "scripted_thread", input={"do": "wait"})
        assert await asyncio.to_thread(gate.reached.wait, 10)

        async def has_begun() -> bool:
            # Checkpoints are written beside the next step.
            return bool((await get(api, f"/threads/{run.thread_id}/state"))["values"].get("log"))

        await until(has_begun)
        made = await copy(api, run.thread_id)
        gate.open.set()
        await asyncio.to_thread(eventually, lambda: engine.active == 0)
    thread = await get(api, f"/threads/{made['thread_id']}")
    assert (thread["status"], thread["values"]["log"]) == ("interrupted", ["begun"])
    assert "done" not in thread["values"]


async def test_busy_thread_whose_state_cannot_be_read_is_copied(api: ApiClient, principal: Principal) -> None:
    def refuse(config: Any) -> Any:
        raise RuntimeError("no such tenant")

    run = await run_to_end(principal, "log", input={"log": ["in"]})
    with script("refuse", refuse):
        await in_db(create, principal, "made", run.thread_id, config={"configurable": {"factory": "refuse"}})
        assert (await get(api, f"/threads/{run.thread_id}"))["status"] == "busy"
        new = await get(api, f"/threads/{(await copy(api, run.thread_id))['thread_id']}")
    assert (new["status"], new["values"]) == ("idle", {"log": ["in", "one", "two"]})


async def test_thread_without_runs(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"a": 1})
    made = await copy(api, thread["thread_id"])
    assert (made["metadata"], made["status"]) == ({"a": 1}, "idle")
    assert (await get(api, f"/threads/{made['thread_id']}/state"))["values"] == {}


async def test_body_is_not_looked_at(api: ApiClient, make: Make) -> None:
    thread = await make()
    assert (await api.post(f"/threads/{thread['thread_id']}/copy", content=b"{not json")).status_code == 200


@pytest.mark.parametrize(("thread_id", "status", "detail"), [
    ("0197a0b0-0000-7000-8000-000000000000", 409, "Conflict"),
    ("nope", 422, "Invalid thread ID: must be a UUID"),
])  # fmt: skip
async def test_unknown_thread(api: ApiClient, thread_id: str, status: int, detail: str) -> None:
    answer = await api.post(f"/threads/{thread_id}/copy")
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    assert await in_db(ThreadTombstone.objects.count) == 0


async def _checkpoints_of(thread_id: UUID) -> int:
    return (await checkpoints().storage(thread_id)).checkpoints


async def test_source_that_is_deleted_meanwhile_leaves_nothing(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]})
    targets = _targets(monkeypatch)
    finish = copying._finish

    def delete_first(*arguments: Any) -> bool:
        services.delete_threads([run.thread_id], workspace_id=principal.workspace_id)
        return finish(*arguments)

    monkeypatch.setattr(copying, "_finish", delete_first)
    with pytest.raises(Conflict):
        await copying.thread_copy(principal, run.thread_id)

    assert await in_db(Thread.objects.count) == await in_db(ThreadTombstone.objects.count) == 0
    assert [await _checkpoints_of(target) for target in targets] == [0] * len(targets)


async def test_crash_between_the_checkpoints_and_the_row_is_swept(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]})
    targets = _targets(monkeypatch)

    def crash(*_: Any) -> bool:
        raise RuntimeError("killed")

    monkeypatch.setattr(copying, "_finish", crash)
    with pytest.raises(RuntimeError):
        await copying.thread_copy(principal, run.thread_id)
    assert await _checkpoints_of(targets[0]) == 4
    await in_db(services.finish_deletes)
    assert await _checkpoints_of(targets[0]) == 0


async def test_copy_that_was_swept_too_early_is_made_again(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]})
    targets = _targets(monkeypatch)
    finish = copying._finish

    def sweep_first(*arguments: Any) -> bool:
        if len(targets) == 1:
            services.finish_deletes()
        return finish(*arguments)

    monkeypatch.setattr(copying, "_finish", sweep_first)
    made = await copy(api, run.thread_id)
    assert [await _checkpoints_of(target) for target in targets] == [0, 4]
    assert made["thread_id"] == str(targets[1])


def _targets(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The ids of the copies that are begun from now on."""
    made: list[UUID] = []

    def new() -> UUID:
        made.append(uuid4())
        return made[-1]

    monkeypatch.setattr(copying, "uuid4", new)
    return made
