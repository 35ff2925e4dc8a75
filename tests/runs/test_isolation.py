"""A run reads and writes its own thread, in the name of who asked for it, whatever its configuration says."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest
from langchain_core.runnables.config import CONFIG_KEYS
from langgraph._internal import _constants as langgraph_names
from langgraph.pregel import main as pregel

from assistants.schemas import AssistantCreate, AssistantPatch
from assistants.services import (
    assistant_create,
    assistant_patch,
    assistant_set_version,
    ensure_default_assistants,
)
from crons.schemas import CronCreate, CronCreateStateless
from crons.services import cron_create, cron_run_now
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.run_config import SERVER_KEYS
from runs.engine.engine import Engine
from runs.models import Run
from runs.schemas import RunCreate, RunCreateStateless
from runs.services import run_create, runs_create
from tests.api_client import ApiClient, client, make_key
from tests.api_client import api as api
from tests.runs.conftest import claim, execute, run_to_end
from tests.runs.graphs import script
from threads.models import Thread

SECRET = "SECRET-CANARY-42"


@pytest.fixture
async def keys_mode(principal: Principal, engine: Engine, settings: Any) -> AsyncIterator[ApiClient]:
    """The API with an engine at work, for callers with keys."""
    settings.AUTH = "keys"
    async with client() as http:
        yield http


async def post(api: ApiClient, key: str, path: str, body: dict[str, Any]) -> Any:
    answer = await api.post(path, json=body, headers={"X-Api-Key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def state(api: ApiClient, key: str, thread: str) -> Any:
    answer = await api.get(f"/threads/{thread}/state", headers={"X-Api-Key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()["values"]


async def test_an_assistant_that_names_the_thread_of_another_workspace_does_not_reach_it(keys_mode: ApiClient) -> None:
    victim, attacker = await make_key("member"), await make_key("member", workspace="evil")
    theirs = (await post(keys_mode, victim, "/threads", {}))["thread_id"]
    said = {"assistant_id": "log", "input": {"log": [SECRET]}}
    await post(keys_mode, victim, f"/threads/{theirs}/runs/wait", said)
    before = await state(keys_mode, victim, theirs)

    assistant = await post(keys_mode, attacker, "/assistants", {"graph_id": "log", "config": {"thread_id": theirs}})
    assert assistant["config"] == {"thread_id": theirs}
    own = (await post(keys_mode, attacker, "/threads", {}))["thread_id"]
    attack = {"assistant_id": assistant["assistant_id"], "input": {"log": ["hello from the attacker"]}}
    answer = await post(keys_mode, attacker, f"/threads/{own}/runs/wait", attack)

    assert answer == {"log": ["hello from the attacker", "one", "two"]}
    assert await state(keys_mode, victim, theirs) == before
    assert await state(keys_mode, attacker, own) == answer


# --- Reserved names, in every field that reaches a configuration -----------------------------------
THEIRS = "theirs"
STEERING = sorted(
    value for name, value in vars(langgraph_names).items() if name.startswith("CONFIG_KEY_") and value.startswith("__")
)
OTHERS = ["__pregel_store", "__anything", "langgraph_auth_scheme", "counters_since_delta_snapshot"]
RESERVED: dict[str, Any] = dict.fromkeys([*sorted(SERVER_KEYS), *STEERING, *OTHERS], THEIRS)
# With values of the right type: they would lead elsewhere if they were believed.
FORKS: dict[str, Any] = {"checkpoint_id": THEIRS, "checkpoint_ns": THEIRS, "checkpoint_map": {"": THEIRS}}
NAMES = {**RESERVED, **FORKS}
TOP_LEVEL = {**NAMES, "callbacks": [THEIRS], "anything": THEIRS}
CALLER = {"identity": "ada", "email": "ada@example.org"}


def test_there_are_enough_names() -> None:
    assert len(NAMES) > 30
    assert {"__pregel_checkpointer", "__pregel_resume_map", "__pregel_runtime", "thread_id", "cron_id"} <= NAMES.keys()


@pytest.fixture
def ada(principal: Principal) -> Principal:
    return replace(principal, identity="ada", user=CALLER, permissions=("read",))


Make = Callable[[Principal], UUID]


def assistant_of(ada: Principal, **fields: Any) -> str:
    body = AssistantCreate.model_validate({"graph_id": "scripted", **fields})
    return str(orjson.loads(assistant_create(ada, body))["assistant_id"])


def patched_assistant(ada: Principal, **fields: Any) -> str:
    assistant_id = assistant_of(ada)
    assistant_patch(ada, UUID(assistant_id), AssistantPatch.model_validate(fields))
    return assistant_id


def assistant_switched_back(ada: Principal, **fields: Any) -> str:
    """An assistant whose first version, which is in use again, has these fields."""
    assistant_id = assistant_of(ada, **fields)
    assistant_patch(ada, UUID(assistant_id), AssistantPatch(config={}, context={}))  # type: ignore[arg-type]
    assistant_set_version(ada, UUID(assistant_id), 1)
    return assistant_id


def run_of(ada: Principal, *, thread: UUID | None = None, **fields: Any) -> UUID:
    thread = thread or Thread.objects.create(workspace_id=ada.workspace_id).thread_id
    body = RunCreate.model_validate({"assistant_id": "scripted", "input": {"do": "report"}, **fields})
    return run_create(ada, thread, body, "request").run_id


def stateless_of(ada: Principal, **fields: Any) -> UUID:
    body = {"assistant_id": "scripted", "input": {"do": "report"}, "on_completion": "keep", **fields}
    [made] = runs_create(ada, [RunCreateStateless.model_validate(body)], "request")
    return made.run_id


def cron_run_of(ada: Principal, *, stateless: bool = False, **fields: Any) -> UUID:
    """The run of a cron with these fields, as its owner starts it."""
    body = {"assistant_id": "scripted", "schedule": "0 0 1 1 *", "input": {"do": "report"}, **fields}
    if stateless:
        cron = cron_create(ada, None, CronCreateStateless.model_validate({**body, "on_run_completed": "keep"}))
    else:
        thread = Thread.objects.create(workspace_id=ada.workspace_id).thread_id
        cron = cron_create(ada, thread, CronCreate.model_validate(body))
    return cron_run_now(ada, UUID(orjson.loads(cron)["cron_id"])).run_id


def on_a_thread_with(ada: Principal, **columns: Any) -> UUID:
    thread = Thread.objects.create(workspace_id=ada.workspace_id, **columns).thread_id
    return run_of(ada, thread=thread)


# Where the names are put -> the run that is made with them.
SOURCES: dict[str, Make] = {
    "assistant: config": lambda ada: run_of(ada, assistant_id=assistant_of(ada, config=TOP_LEVEL)),
    "assistant: configurable": lambda ada: run_of(ada, assistant_id=assistant_of(ada, config={"configurable": NAMES})),
    "assistant: context": lambda ada: run_of(ada, assistant_id=assistant_of(ada, context=NAMES)),
    "assistant: config.metadata": lambda ada: run_of(ada, assistant_id=assistant_of(ada, config={"metadata": NAMES})),
    "assistant: metadata": lambda ada: run_of(ada, assistant_id=assistant_of(ada, metadata=NAMES)),
    "patched assistant: config": lambda ada: run_of(ada, assistant_id=patched_assistant(ada, config=TOP_LEVEL)),
    "patched assistant: configurable": lambda ada: run_of(
        ada, assistant_id=patched_assistant(ada, config={"configurable": NAMES})
    ),
    "patched assistant: context": lambda ada: run_of(ada, assistant_id=patched_assistant(ada, context=NAMES)),
    "assistant switched back: config": lambda ada: run_of(
        ada, assistant_id=assistant_switched_back(ada, config={**TOP_LEVEL, "configurable": NAMES})
    ),
    # LangChain's own merge comes first where these are streamed.
    "assistant: config, events": lambda ada: run_of(
        ada, assistant_id=assistant_of(ada, config={**TOP_LEVEL, "configurable": NAMES}), stream_mode="events"
    ),
    "request: config": lambda ada: run_of(ada, config=TOP_LEVEL),
    "request: configurable": lambda ada: run_of(ada, config={"configurable": RESERVED}),
    "request: context": lambda ada: run_of(ada, context=NAMES),
    "request: config.metadata": lambda ada: run_of(ada, config={"metadata": NAMES}),
    "request: metadata": lambda ada: run_of(ada, metadata=NAMES),
    "request: body": lambda ada: run_of(ada, **{name: NAMES[name] for name in NAMES if name not in ("assistant_id",)}),
    "request: checkpoint": lambda ada: run_of(ada, checkpoint={"thread_id": THEIRS}),
    "stateless: config": lambda ada: stateless_of(ada, config={**TOP_LEVEL, "configurable": RESERVED}),
    "stateless: context": lambda ada: stateless_of(ada, context=NAMES, metadata=NAMES),
    "stateless: assistant": lambda ada: stateless_of(
        ada, assistant_id=assistant_of(ada, config={**TOP_LEVEL, "configurable": NAMES, "metadata": NAMES})
    ),
    "thread: metadata": lambda ada: on_a_thread_with(ada, metadata=NAMES),
    "thread: config": lambda ada: on_a_thread_with(ada, config={**TOP_LEVEL, "configurable": NAMES}),
    "thread: run_config": lambda ada: on_a_thread_with(ada, run_config={**TOP_LEVEL, "configurable": NAMES}),
    "cron: config": lambda ada: cron_run_of(ada, config={**TOP_LEVEL, "configurable": RESERVED, "metadata": NAMES}),
    "cron: context": lambda ada: cron_run_of(ada, context=NAMES, metadata=NAMES),
    "cron: assistant": lambda ada: cron_run_of(
        ada, assistant_id=assistant_of(ada, config={**TOP_LEVEL, "configurable": NAMES, "metadata": NAMES})
    ),
    "cron without a thread": lambda ada: cron_run_of(
        ada, stateless=True, config={**TOP_LEVEL, "configurable": RESERVED, "metadata": NAMES}
    ),
    "headers": lambda ada: (
        run_create(
            ada,
            Thread.objects.create(workspace_id=ada.workspace_id).thread_id,
            RunCreate(assistant_id="scripted", input={"do": "report"}),
            "request",
            dict.fromkeys(NAMES, THEIRS),
        ).run_id
    ),
}


async def reported(run_id: UUID) -> tuple[Run, dict[str, Any]]:
    """Execute the run; its row, and the whole configuration that its node saw."""
    seen: dict[str, Any] = {}

    def report(state: Any, config: Any) -> str:
        seen.update(config)
        return "reported"

    with script("report", report):
        await execute(await in_db(lambda: claim(Run.objects.get(run_id=run_id))))
    run = await in_db(lambda: Run.objects.select_related("thread").get(run_id=run_id))
    assert run.status == "success", run.error_text
    return run, seen


def require_the_servers(run: Run, seen: dict[str, Any]) -> None:
    """Nothing of what was given under a reserved name has reached the node."""
    assert seen.keys() <= set(CONFIG_KEYS)
    assert seen["callbacks"] != [THEIRS]
    configurable = seen["configurable"]
    assert "anything" not in configurable
    for name, value in NAMES.items():
        assert configurable.get(name) != value, name
    expected = {
        "thread_id": str(run.thread_id),
        "run_id": str(run.run_id),
        "graph_id": "scripted",
        "assistant_id": str(run.assistant_id),
        "langgraph_auth_user": CALLER,
        "langgraph_auth_user_id": "ada",
        "langgraph_auth_permissions": ["read"],
        "user_id": "ada",
    }
    assert {name: configurable.get(name) for name in expected} == expected
    assert len(configurable["langgraph_request_id"]) in (len("request"), 32)
    identity = {name: seen["metadata"].get(name) for name in ("thread_id", "run_id", "graph_id", "assistant_id")}
    assert identity == {name: expected[name] for name in identity}


@pytest.mark.parametrize("source", SOURCES)
async def test_no_reserved_name_reaches_a_graph(source: str, ada: Principal) -> None:
    run, seen = await reported(await in_db(SOURCES[source], ada))
    require_the_servers(run, seen)
    if source.startswith("cron"):
        assert seen["configurable"]["cron_id"] == run.metadata["cron_id"]
    else:
        assert "cron_id" not in seen["configurable"]
    # And the thread can be used again.
    again, seen = await reported(await in_db(lambda: run_of(ada, thread=run.thread_id)))
    require_the_servers(again, seen)


async def test_no_reserved_name_of_a_system_assistants_config_reaches_a_graph(ada: Principal) -> None:
    config = {**TOP_LEVEL, "configurable": {**NAMES, "mine": 1}, "metadata": NAMES}
    await in_db(lambda: ensure_default_assistants(["scripted"], {"scripted": config}))
    run, seen = await reported(await in_db(lambda: run_of(ada)))
    require_the_servers(run, seen)
    assert seen["configurable"]["mine"] == 1


async def test_what_is_stored_with_a_run_is_not_believed_either(ada: Principal) -> None:
    def make() -> UUID:
        run_id = run_of(ada)
        run = Run.objects.get(run_id=run_id)
        stored = run.kwargs["config"]
        own = {"thread_id": THEIRS, "run_id": THEIRS, **dict.fromkeys([*STEERING, *OTHERS], THEIRS)}
        config = {**TOP_LEVEL, **stored, "configurable": {**stored["configurable"], **own}}
        Run.objects.filter(run_id=run_id).update(kwargs={**run.kwargs, "config": config})
        return run_id

    require_the_servers(*await reported(await in_db(make)))


GIVEN_USER_ID: dict[str, Callable[[Principal], UUID]] = {
    "assistant": lambda ada: run_of(ada, assistant_id=assistant_of(ada, config={"configurable": {"user_id": "bob"}})),
    "request": lambda ada: run_of(ada, config={"configurable": {"user_id": "bob"}}),
    "context": lambda ada: run_of(ada, context={"user_id": "bob"}),
    "thread": lambda ada: on_a_thread_with(ada, run_config={"user_id": "bob"}),
    "cron": lambda ada: cron_run_of(ada, config={"configurable": {"user_id": "bob"}}),
    "request over thread and assistant": lambda ada: run_of(
        ada,
        thread=Thread.objects.create(workspace_id=ada.workspace_id, run_config={"user_id": "t"}).thread_id,
        assistant_id=assistant_of(ada, config={"configurable": {"user_id": "a"}}),
        config={"configurable": {"user_id": "bob"}},
    ),
    "thread over assistant": lambda ada: run_of(
        ada,
        thread=Thread.objects.create(workspace_id=ada.workspace_id, run_config={"user_id": "bob"}).thread_id,
        assistant_id=assistant_of(ada, config={"configurable": {"user_id": "a"}}),
    ),
}


@pytest.mark.parametrize("source", GIVEN_USER_ID)
async def test_a_user_id_that_was_given_stands(source: str, ada: Principal) -> None:
    _, seen = await reported(await in_db(GIVEN_USER_ID[source], ada))
    assert (seen["configurable"]["user_id"], seen["configurable"]["langgraph_auth_user_id"]) == ("bob", "ada")


async def test_a_thread_remembers_the_user_id_that_it_was_given(ada: Principal) -> None:
    run, _ = await reported(await in_db(lambda: run_of(ada, config={"configurable": {"user_id": "bob"}})))
    for _ in range(2):
        _, seen = await reported(await in_db(lambda: run_of(ada, thread=run.thread_id)))
        assert seen["configurable"]["user_id"] == "bob"


async def test_a_counter_of_langgraph_in_metadata_does_not_break_the_thread(ada: Principal) -> None:
    counter = {"counters_since_delta_snapshot": "x"}
    run, _ = await reported(await in_db(lambda: run_of(ada, metadata=counter, config={"configurable": counter})))
    await reported(await in_db(lambda: run_of(ada, thread=run.thread_id)))


# --- LangGraph's own merge -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("thread_id", "5f3c1a52-94b1-4d0e-9c1d-3f6a8d6f0a11"),
        ("langgraph_auth_user_id", "eve"),
        ("cron_id", "c"),
        ("__pregel_cache", "c"),
    ],
)
async def test_a_merge_that_goes_over_the_servers_keys_fails_the_run_before_a_node_runs(
    key: str, value: str, ada: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = pregel.ensure_config  # type: ignore[attr-defined]

    def overriding(*configs: Any) -> Any:
        merged = merge(*configs)
        return {**merged, "configurable": {**merged["configurable"], key: value}}

    monkeypatch.setattr(pregel, "ensure_config", overriding)
    ran: list[str] = []
    with script("look", lambda state, config: ran.append("ran")):
        run = await run_to_end(ada, "scripted", input={"do": "look"})
    assert (run.status, run.error_class, ran) == ("error", "OutOfScope", [])
    if key == "thread_id":
        assert value in run.error_text
    else:
        assert run.error_text.startswith(f"`configurable.{key}` of run {run.run_id} of graph 'scripted' was changed")


async def test_a_graph_that_is_bound_to_a_configuration_runs_on_the_threads_of_its_runs(
    ada: Principal, registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = registry._graphs["scripted"].with_config(
        {"configurable": {"thread_id": THEIRS, "langgraph_auth_user_id": THEIRS, "mine": 1}, "run_id": THEIRS}
    )
    monkeypatch.setitem(registry._graphs, "scripted", bound)
    run, seen = await reported(await in_db(lambda: run_of(ada)))
    require_the_servers(run, seen)
    assert seen["configurable"]["mine"] == 1


async def test_a_run_for_which_nobody_gives_a_limit_shows_none(ada: Principal) -> None:
    assert pregel.ensure_config()["recursion_limit"] == 10_000  # type: ignore[attr-defined]
    _, seen = await reported(await in_db(lambda: run_of(ada)))
    assert "recursion_limit" not in seen


@pytest.mark.parametrize("bound", [None, 30])
async def test_no_run_has_more_steps_than_the_server_allows(
    bound: int | None, ada: Principal, registry: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RECURSION_LIMIT_MAX = 1
    if bound is not None:
        graph = registry._graphs["log"].with_config({"recursion_limit": bound})
        monkeypatch.setitem(registry._graphs, "log", graph)
    run = await run_to_end(ada, "log", input={"log": []})
    assert (run.status, run.error_class) == ("error", "GraphRecursionError")
    assert "Recursion limit of 1 reached" in run.error_text


# --- Graphs that are made for every use, and looked at ---------------------------------------------
async def test_a_factory_gets_the_servers_keys(ada: Principal) -> None:
    seen: dict[str, Any] = {}

    def make(config: Any) -> Any:
        from tests.runs.graphs import log

        seen.update(config)
        return log

    fields = {"graph_id": "made", "config": {**TOP_LEVEL, "configurable": {**NAMES, "factory": "make"}}}
    with script("make", make):
        run = await run_to_end(ada, await in_db(lambda: assistant_of(ada, **fields)), input={"log": []})
    assert run.status == "success", run.error_text
    for name, value in NAMES.items():
        assert seen["configurable"].get(name) != value, name
    assert seen["configurable"]["thread_id"] == str(run.thread_id)
    assert seen["configurable"]["langgraph_auth_user"] == CALLER
    assert seen.keys() <= set(CONFIG_KEYS)


@pytest.mark.parametrize("path", ["graph", "schemas", "subgraphs"])
async def test_a_factory_that_is_looked_at_gets_the_servers_keys(path: str, ada: Principal, api: ApiClient) -> None:
    seen: list[dict[str, Any]] = []

    def make(config: Any) -> Any:
        from tests.runs.graphs import log

        seen.append(config)
        return log

    config = {**TOP_LEVEL, "configurable": {**NAMES, "factory": "make", "user_id": "bob"}, "metadata": NAMES}
    assistant = await in_db(lambda: assistant_of(ada, graph_id="made", config=config))
    with script("make", make):
        answer = await api.get(f"/assistants/{assistant}/{path}")
    assert answer.status_code == 200, answer.text
    assert seen
    assert seen[0].keys() == {"configurable", "metadata"}
    assert seen[0]["configurable"] == {
        "factory": "make",
        "user_id": "bob",
        "graph_id": "made",
        "assistant_id": assistant,
        "langgraph_auth_user": None,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
    }
