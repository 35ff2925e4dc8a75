"""What a scope hands out serves one thread, one run and one workspace, on every kind of saver."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from platform_site.core import scope as scope_module
from platform_site.core.checkpoints.interface import Checkpoints
from platform_site.core.scope import OutOfScope, Scope, ScopedSaver
from tests.core.checkpointing import checkpoint, ids, save, thread_config
from tests.core.test_checkpoints import asking_graph, leased
from tests.core.test_checkpoints import store as store
from tests.postgres import postgres_server, postgres_url  # noqa: F401

OTHER_WORKSPACE, WORKSPACE = 1, 2
METADATA: Any = {"source": "loop", "step": 1, "parents": {}}


@pytest.fixture(params=["run", "temporary run", "state"])
def scope(request: pytest.FixtureRequest, store: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> Scope:
    """The scope of an attempt, of one whose thread is not kept, and of a call of the state API."""
    monkeypatch.setattr(scope_module, "checkpoints", lambda: store)
    own: dict[str, Any] = {"workspace_id": WORKSPACE, "thread_id": uuid4(), "graph_id": "agent"}
    if request.param == "state":
        return Scope(**own)
    lease = leased(store)
    return Scope(**own, run_id=lease.run_id, fence=lease, is_temporary=request.param == "temporary run")


@pytest.fixture
async def saver(scope: Scope) -> ScopedSaver:
    return scope.saver()


def at(thread_id: object, **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": "", **more}}


async def consumed(found: Any) -> list[Any]:
    return [item async for item in found]


# Every method with which a thread or a run can be named: name -> call with another thread and another run.
Call = Callable[[BaseCheckpointSaver[str], UUID, UUID], Any]
CALLS: dict[str, list[Call]] = {
    "get": [lambda saver, thread, run: saver.get(at(thread))],
    "aget": [lambda saver, thread, run: saver.aget(at(thread))],
    "get_tuple": [
        lambda saver, thread, run: saver.get_tuple(at(thread)),
        lambda saver, thread, run: saver.get_tuple({"configurable": {}}),
    ],
    "aget_tuple": [
        lambda saver, thread, run: saver.aget_tuple(at(thread)),
        lambda saver, thread, run: saver.aget_tuple({"configurable": {"thread_id": None}}),
    ],
    "list": [
        lambda saver, thread, run: list(saver.list(at(thread))),
        lambda saver, thread, run: list(saver.list(None)),
        lambda saver, thread, run: list(saver.list({"configurable": {}})),
    ],
    "alist": [
        lambda saver, thread, run: consumed(saver.alist(at(thread))),
        lambda saver, thread, run: consumed(saver.alist(None)),
        lambda saver, thread, run: consumed(saver.alist({"configurable": {"run_id": str(run)}})),
    ],
    "put": [lambda saver, thread, run: saver.put(at(thread), checkpoint(n=1), METADATA, {})],
    "aput": [lambda saver, thread, run: saver.aput(at(thread), checkpoint(n=1), METADATA, {})],
    "put_writes": [lambda saver, thread, run: saver.put_writes(at(thread, checkpoint_id="1"), [("n", 1)], "task")],
    "aput_writes": [lambda saver, thread, run: saver.aput_writes(at(thread, checkpoint_id="1"), [("n", 1)], "task")],
    "delete_thread": [lambda saver, thread, run: saver.delete_thread(str(thread))],
    "adelete_thread": [lambda saver, thread, run: saver.adelete_thread(str(thread))],
    "delete_for_runs": [lambda saver, thread, run: saver.delete_for_runs([str(run)])],
    "adelete_for_runs": [lambda saver, thread, run: saver.adelete_for_runs([str(run)])],
    "copy_thread": [lambda saver, thread, run: saver.copy_thread(str(thread), str(uuid4()))],
    "acopy_thread": [lambda saver, thread, run: saver.acopy_thread(str(thread), str(uuid4()))],
    "prune": [lambda saver, thread, run: saver.prune([str(thread)])],
    "aprune": [lambda saver, thread, run: saver.aprune([str(thread)], strategy="delete")],
    "get_delta_channel_history": [
        lambda saver, thread, run: saver.get_delta_channel_history(config=at(thread), channels=["n"])
    ],
    "aget_delta_channel_history": [
        lambda saver, thread, run: saver.aget_delta_channel_history(config=at(thread), channels=["n"])
    ],
}
# They name neither.
HARMLESS = {"config_specs", "get_next_version", "with_allowlist"}


async def outcome(call: Call, saver: BaseCheckpointSaver[str], thread: UUID, run: UUID) -> None:
    found = call(saver, thread, run)
    if isinstance(found, Awaitable):
        await found


def test_every_method_of_a_saver_is_tried() -> None:
    methods = {name for name in vars(BaseCheckpointSaver) if not name.startswith("_")} - {"serde"}
    assert methods == CALLS.keys() | HARMLESS


@pytest.mark.parametrize("method", CALLS)
async def test_another_thread_is_refused(method: str, saver: ScopedSaver, store: Checkpoints) -> None:
    theirs, run = uuid4(), uuid4()
    saved = await save(store.saver(), thread_config(theirs), run, colour="red")
    before = await store.storage(theirs)

    for call in CALLS[method]:
        with pytest.raises(OutOfScope):
            await outcome(call, saver, theirs, run)

    assert await store.storage(theirs) == before
    assert await ids(store.saver(), thread_config(theirs)) == [saved["configurable"]["checkpoint_id"]]


async def test_what_is_listed_may_not_come_before_a_checkpoint_of_another_thread(saver: ScopedSaver) -> None:
    own = at(saver._scope.thread_id)
    with pytest.raises(OutOfScope):
        list(saver.list(own, before=at(uuid4(), checkpoint_id="1")))
    with pytest.raises(OutOfScope):
        await consumed(saver.alist(own, before=at(uuid4(), checkpoint_id="1")))


async def test_the_own_thread_is_not_copied_to_another(saver: ScopedSaver) -> None:
    own, other = str(saver._scope.thread_id), str(uuid4())
    for source, target in ((own, other), (other, own)):
        with pytest.raises(OutOfScope):
            await saver.acopy_thread(source, target)


async def test_a_graph_works_on_the_own_thread(saver: ScopedSaver) -> None:
    own = at(saver._scope.thread_id)
    await asking_graph(saver).ainvoke({"answer": ""}, own)

    found = await saver.aget_tuple(own)
    assert found is not None
    assert found.pending_writes
    assert await saver.aget(own) == found.checkpoint
    assert [item.config for item in await consumed(saver.alist(own, limit=1))] == [found.config]
    assert (await saver.aget_delta_channel_history(config=found.config, channels=["answer"])).keys() == {"answer"}


async def test_the_own_thread_can_be_deleted(saver: ScopedSaver) -> None:
    own = at(saver._scope.thread_id)
    await save(saver, own, colour="red")
    await saver.adelete_thread(own["configurable"]["thread_id"])
    assert await saver.aget_tuple(own) is None


async def test_more_types_do_not_widen_the_scope(saver: ScopedSaver) -> None:
    widened = saver.with_allowlist({("a.module", "Type")})
    with pytest.raises(OutOfScope):
        await widened.aget_tuple(at(uuid4()))


async def test_the_refusal_names_graph_node_and_what_to_change(saver: ScopedSaver) -> None:
    theirs = uuid4()
    config: RunnableConfig = {**at(theirs), "metadata": {"langgraph_node": "call"}}
    with pytest.raises(OutOfScope) as caught:
        await saver.aget_tuple(config)
    for part in ("node 'call' of graph 'agent'", str(theirs), "`checkpointer=False`", "leave the `thread_id` out"):
        assert part in str(caught.value)


def test_the_lease_of_another_run_is_refused(store: Checkpoints) -> None:
    with pytest.raises(OutOfScope):
        Scope(workspace_id=WORKSPACE, thread_id=uuid4(), run_id=uuid4(), fence=leased(store))


def test_the_feed_is_that_of_thread_and_workspace() -> None:
    thread = uuid4()
    assert Scope(workspace_id=WORKSPACE, thread_id=thread).feed == f"{WORKSPACE}/{thread}"
    assert Scope(workspace_id=OTHER_WORKSPACE, thread_id=thread).feed == f"{OTHER_WORKSPACE}/{thread}"
    assert Scope(workspace_id=WORKSPACE, thread_id=thread, is_temporary=True).feed is None
