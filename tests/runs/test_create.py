"""POST /threads/{thread_id}/runs and POST /runs, up to the moment at which the run is accepted."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assistants.schemas import AssistantPatch
from assistants.services import assistant_delete, assistant_patch
from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.errors import NotFound
from platform_site.core.graphs.registry import default_assistant_id
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import api as api
from tests.runs.conftest import create
from threads.models import Thread, ThreadTombstone

pytestmark = pytest.mark.usefixtures("principal")


@pytest.fixture
async def thread(api: ApiClient) -> str:
    return str((await api.post("/threads", json={"metadata": {"own": 1}})).json()["thread_id"])


async def post(api: ApiClient, thread: str | None, **body: Any) -> Any:
    path = f"/threads/{thread}/runs" if thread else "/runs"
    return await api.post(path, json={"assistant_id": "log"} | body)


async def test_the_workspaces_own_default_assistant_is_taken(api: ApiClient, thread: str) -> None:
    log = default_assistant_id("log")
    changed = {"context": {"tone": "dry"}, "metadata": {"team": "a"}}
    assert (await api.patch(f"/assistants/{log}", json=changed)).status_code == 200
    for place in (thread, None):
        for name in ("log", str(log)):
            run = (await post(api, place, assistant_id=name)).json()
            assert run["assistant_id"] == str(log)
            assert run["kwargs"]["config"]["configurable"]["tone"] == run["kwargs"]["context"]["tone"] == "dry"
            assert run["metadata"]["team"] == "a"


def test_a_default_assistant_of_another_workspace_is_not_taken(principal: Principal) -> None:
    log = default_assistant_id("log")
    stranger = Principal(Workspace.objects.create(slug="other").pk)
    assistant_patch(stranger, log, AssistantPatch(context={"tone": "dry"}))
    assert "tone" not in create(principal).kwargs["config"]["configurable"]
    assistant_delete(stranger, log)
    assert create(principal).assistant_id == log
    with pytest.raises(NotFound, match="Thread or assistant not found"):
        create(stranger)


@pytest.mark.parametrize("is_changed", [False, True])
def test_one_statement_finds_the_assistant(principal: Principal, is_changed: bool) -> None:
    if is_changed:
        assistant_patch(principal, default_assistant_id("log"), AssistantPatch(name="Mine"))
    with CaptureQueriesContext(connection) as statements:
        create(principal)
    assert len([one for one in statements if "assistants_assistant" in one["sql"]]) == 1


async def test_a_run_keeps_the_id_of_an_assistant_that_is_deleted(api: ApiClient, thread: str) -> None:
    made = (await api.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"]
    run = (await post(api, thread, assistant_id=made)).json()
    assert (await api.delete(f"/assistants/{made}")).status_code == 204
    assert (await api.get(f"/threads/{thread}/runs/{run['run_id']}")).json() == run


async def test_run_is_pending_and_says_where_it_is(api: ApiClient, thread: str) -> None:
    answer = await post(api, thread, input={"log": ["x"]}, metadata={"mine": 2})
    assert answer.status_code == 200
    run = answer.json()
    assert answer.headers["content-location"] == f"/threads/{thread}/runs/{run['run_id']}"
    assert (run["status"], run["thread_id"], run["multitask_strategy"]) == ("pending", thread, "enqueue")
    assert UUID(run["run_id"]).version == 7
    assert run["assistant_id"] == str(default_assistant_id("log"))
    assert run["kwargs"]["input"] == {"log": ["x"]}
    assert run["metadata"] == {
        "created_by": "system", "own": 1, "mine": 2, "graph_id": "log", "assistant_id": run["assistant_id"],
    }  # fmt: skip


async def test_answer_is_what_get_shows(api: ApiClient, thread: str) -> None:
    run = (await post(api, thread)).json()
    assert (await api.get(f"/threads/{thread}/runs/{run['run_id']}")).json() == run


async def test_what_could_not_be_shown_is_not_stored(api: ApiClient, thread: str) -> None:
    nested: Any = 1
    for _ in range(253):
        nested = [nested]
    for place in (thread, None):
        assert (await post(api, place, input=nested)).status_code == 400
    assert await in_db(Run.objects.count) == 0
    assert (await api.get(f"/threads/{thread}")).json()["status"] == "idle"


async def test_thread_is_busy_and_remembers_the_assistant(api: ApiClient, thread: str) -> None:
    await post(api, thread, config={"tags": ["a"], "configurable": {"x": 1}})
    found = (await api.get(f"/threads/{thread}")).json()
    assert found["status"] == "busy"
    assert found["metadata"] == {"own": 1, "graph_id": "log", "assistant_id": str(default_assistant_id("log"))}
    assert found["config"] == {"tags": ["a"], "configurable": {}}


def test_keeping_the_configuration_costs_no_statement_of_its_own(principal: Principal) -> None:
    thread = Thread.objects.create(workspace_id=principal.workspace_id).thread_id
    for place, expected in ((thread, ["SELECT", "UPDATE"]), (None, ["INSERT"])):
        with CaptureQueriesContext(connection) as statements:
            run = create(principal, thread_id=place, new=False, config={"configurable": {"x": 1}})
        of_threads = [query["sql"] for query in statements if "threads_thread" in query["sql"]]
        assert [sql.split()[0] for sql in of_threads] == expected
        assert Thread.objects.get(pk=run.thread_id).run_config["configurable"] == {"x": 1}


async def test_stateless_run_has_a_thread_of_its_own(api: ApiClient) -> None:
    answer = await post(api, None)
    run = answer.json()
    assert answer.headers["content-location"] == f"/runs/{run['run_id']}"
    assert run["kwargs"]["temporary"] is True
    assert (await api.get(f"/threads/{run['thread_id']}")).json()["status"] == "busy"


async def test_kept_stateless_run_is_not_temporary(api: ApiClient) -> None:
    assert (await post(api, None, on_completion="keep")).json()["kwargs"]["temporary"] is False


async def test_delayed_run_shows_when_it_is_due(api: ApiClient, thread: str) -> None:
    run = (await post(api, thread, after_seconds=60)).json()
    assert run["created_at"] > run["updated_at"]
    assert (await api.get(f"/threads/{thread}")).json()["status"] == "busy"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"assistant_id": "5f3c1a52-94b1-4d0e-9c1d-3f6a8d6f0a11"}, 404, "Thread or assistant not found."),
        ({"assistant_id": "zzz"}, 422, "Invalid assistant: 'zzz'. Must be either:"),
        ({"assistant_id": None}, 422, "null is not of type"),
        ({"stream_mode": "tools"}, 422, ""),
        ({"stream_mode": ["values", "nope"]}, 422, ""),
        ({"multitask_strategy": "x"}, 422, '"x" is not one of'),
        ({"if_not_exists": "x"}, 422, '"x" is not one of "create" or "reject"'),
        ({"durability": "x"}, 422, '"x" is not one of'),
        ({"after_seconds": -1}, 422, "-1 is less than the minimum of 0"),
        ({"after_seconds": 1e300}, 422, ""),
        ({"config": {"recursion_limit": 0}}, 422, "0 is less than the minimum of 1"),
        ({"config": {"recursion_limit": 2**70}}, 422, ""),
        ({"config": {"configurable": {"a": 1}}, "context": {"b": 2}}, 400, "Cannot specify both"),
        ({"command": "x"}, 422, '"x" is not of type "object"'),
        ({"command": {"goto": {"input": 1}}}, 422, ""),
        ({"checkpoint": "x"}, 422, '"x" is not of type "object"'),
        ({"interrupt_before": "one"}, 422, ""),
        ({"metadata": []}, 422, '[] is not of type "object"'),
        ({"webhook": "ftp://example.org"}, 422, "Webhook host blocked: scheme 'ftp' not allowed"),
        ({"webhook": ""}, 422, '"" is shorter than 1 character'),
        ({"feedback_keys": ["mood"]}, 422, "`feedback_keys` is not supported: it asks for feedback URLs of LangSmith"),
        ({"langsmith_tracer": {"project_name": "p"}}, 422, "`langsmith_tracer` is not supported"),
        ({"strict_resume": "x"}, 422, '"x" is not of type "boolean"'),
    ],
    ids=str,
)
async def test_what_cannot_be_asked(
    api: ApiClient, thread: str, body: dict[str, Any], status: int, detail: str
) -> None:
    answer = await post(api, thread, **body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(detail)
    assert await in_db(Run.objects.count) == 0


async def test_what_asks_for_nothing_is_accepted(api: ApiClient, thread: str) -> None:
    assert (await post(api, thread, feedback_keys=[], langsmith_tracer={})).status_code == 200


@pytest.mark.parametrize("body", [{"checkpoint_id": "1f0"}, {"checkpoint": {"checkpoint_id": "1f0"}}])
@pytest.mark.parametrize("verb", ["", "/stream", "/wait"])
async def test_stateless_run_has_no_checkpoint_to_start_from(api: ApiClient, verb: str, body: dict[str, Any]) -> None:
    answer = await api.post(f"/runs{verb}", json={"assistant_id": "log", **body})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("`checkpoint_id` names a checkpoint of a thread")


@pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback", "enqueue"])
async def test_stateless_run_never_meets_another(api: ApiClient, strategy: str) -> None:
    for if_not_exists in ("create", "reject"):
        answer = await post(api, None, multitask_strategy=strategy, if_not_exists=if_not_exists)
        assert (answer.status_code, answer.json()["multitask_strategy"]) == (200, strategy)


async def test_resume_needs_a_thread(api: ApiClient) -> None:
    answer = await post(api, None, command={"resume": 1})
    assert (answer.status_code, answer.json()["detail"]) == (400, "You must provide a thread_id when resuming.")


async def test_unknown_thread(api: ApiClient) -> None:
    answer = await post(api, str(uuid4()))
    assert (answer.status_code, answer.json()["detail"]) == (404, "Thread or assistant not found.")


async def test_bad_thread_id(api: ApiClient) -> None:
    assert (await post(api, "zzz")).json()["detail"] == "Invalid thread ID: must be a UUID"


async def test_unknown_thread_may_be_created(api: ApiClient) -> None:
    thread = str(uuid4())
    assert (await post(api, thread, if_not_exists="create")).status_code == 200
    assert (await api.get(f"/threads/{thread}")).json()["status"] == "busy"


async def test_thread_of_another_workspace_is_unknown(api: ApiClient, principal: Principal) -> None:
    from platform_site.access.models import Workspace

    def other() -> Thread:
        return Thread.objects.create(workspace=Workspace.objects.create(slug="other", name="Other"))

    thread = await in_db(other)
    for options in ({}, {"if_not_exists": "create"}):
        assert (await post(api, str(thread.pk), **options)).status_code == 404


async def test_created_thread_has_nothing_of_a_deleted_one(api: ApiClient) -> None:
    # A crash left the tombstone; the sweep would delete what the new thread writes.
    thread = uuid4()
    await in_db(lambda: ThreadTombstone.objects.create(thread_id=thread))
    await post(api, str(thread), if_not_exists="create")
    assert await in_db(ThreadTombstone.objects.count) == 0


@pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback"])
async def test_idle_thread_takes_any_strategy(api: ApiClient, thread: str, strategy: str) -> None:
    assert (await post(api, thread, multitask_strategy=strategy)).status_code == 200


async def test_repeated_modes_are_asked_for_once(api: ApiClient, thread: str) -> None:
    run = (await post(api, thread, stream_mode=["updates", "values", "updates"])).json()
    assert run["kwargs"]["stream_mode"] == ["updates", "values"]


async def test_no_mode_means_values(api: ApiClient, thread: str) -> None:
    assert (await post(api, thread, stream_mode=[])).json()["kwargs"]["stream_mode"] == ["values"]


async def test_nothing_is_kept_if_the_run_cannot_be_stored(
    api: ApiClient, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs.engine import queue

    def fail(*_: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(queue, "_insert", fail)
    assert (await post(api, thread)).status_code == 500
    assert (await api.get(f"/threads/{thread}")).json()["status"] == "idle"
