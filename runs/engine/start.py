"""What an attempt gives to its graph: command, input and fork point apply once, however many attempts a run needs.

All attempts of a run carry one `metadata.run_id`. An attempt after the first goes on from the thread's head with no
input if a checkpoint of this run is there. If none is, its input had not been stored and is applied. A command stores
its writes on the checkpoint it found, before it makes one of its own: what of it is stored there counts as applied,
because a resume value that is applied again would answer the next interrupt, and an update would count twice.

An attempt may also find that the one before it had come to the run's end, which was not written any more. Then the
graph is not run again (`breakpoints.py`).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from langchain_core.runnables import RunnableConfig
from langgraph.pregel import main as pregel
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, StateSnapshot

from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.fence import Fence, LeaseLost
from platform_site.core.run_config import FORK_KEYS, fork_point, langgraph_config, server_configurable
from platform_site.core.scope import Scope
from runs.engine.breakpoints import continued, where_it_stopped
from runs.engine.claim import Claim
from runs.engine.own_writes import in_db_for_run
from runs.engine.queue import save_baseline
from runs.streaming.modes import graph_modes
from threads.state import AnyPregel

RESUME_CHANNEL = "__resume__"
# By it LangGraph refuses an answer to an interrupt that does not wait (`CONFIG_KEY_STRICT_RESUME`).
_STRICT_RESUME = "__pregel_strict_resume"
# Where LangGraph finds the runtime of a graph's caller (`CONFIG_KEY_RUNTIME`).
_CALLERS_RUNTIME = "__pregel_runtime"
# Stream modes in which checkpoints are seen.
_SHOWS_CHECKPOINTS = {"checkpoints", "debug", "events", "tasks"}


@dataclass(frozen=True)
class Start:
    """The first argument of `astream`, and whether the fork point still applies."""

    input: Any
    from_fork_point: bool
    # Where the run had come to its end before, if it had: then nothing is to be run.
    stopped_at: StateSnapshot | None = None


async def start_of(claim: Claim, lease: Fence, graph: AnyPregel, config: RunnableConfig) -> Start:
    """How this attempt begins. Raises `LeaseLost` if the run was taken away meanwhile."""
    command = claim.kwargs.get("command")
    if claim.was_begun and not claim.is_temporary:
        graph.checkpointer = continued(graph, claim.run_id)
        run = claim.thread_id, claim.run_id
        # With `exit` a subgraph may have stored where it stopped, and the root graph not even what it was given.
        of_root = claim.kwargs["durability"] == "exit"
        if await checkpoints().has_checkpoint_of_run(*run, of_root=of_root):
            return await _going_on(claim, graph, config)
        if command and claim.baseline is not None:
            command = await _not_yet_applied(claim, command, graph, config)
            if of_root and await checkpoints().has_checkpoint_of_run(*run):
                # What that subgraph was told is not told again: it might answer the next question.
                command.pop("resume", None)
            if not command:
                return await _going_on(claim, graph, config)
    if not command:
        return Start(claim.kwargs.get("input"), from_fork_point=True)
    if not claim.is_temporary and claim.baseline is None:
        claim.baseline = {"writes": await checkpoints().command_writes(claim.thread_id)}
        if not await in_db_for_run(save_baseline, claim, claim.baseline):
            raise LeaseLost(lease)
    prepared = await _command(command, graph, config)
    # LangGraph has no empty command; one that asks for nothing goes on where the thread stands.
    asks = prepared.resume is not None or prepared.update or prepared.goto
    return Start(prepared if asks else None, from_fork_point=True)


async def _going_on(claim: Claim, graph: AnyPregel, config: RunnableConfig) -> Start:
    """From the thread's head, without anything that an earlier attempt has applied already."""
    head, after = without_fork_point(config), claim.kwargs["interrupt_after"]
    stopped_at = await where_it_stopped(graph, head, claim.thread_id, claim.run_id, after)
    return Start(None, from_fork_point=False, stopped_at=stopped_at)


async def _not_yet_applied(
    claim: Claim, command: dict[str, Any], graph: AnyPregel, config: RunnableConfig
) -> dict[str, Any]:
    """The parts of the command of which an earlier attempt has stored nothing."""
    assert claim.baseline is not None
    before: dict[str, str] = claim.baseline["writes"]
    now = await checkpoints().command_writes(claim.thread_id)
    # namespace, which may hold any character, | checkpoint | task | index | channel
    fresh = [key.rsplit("|", 4) for key, digest in now.items() if before.get(key) != digest]
    resumed = {task for _, _, task, _, channel in fresh if channel == RESUME_CHANNEL}
    updated = any(channel != RESUME_CHANNEL for *_, channel in fresh)
    left = {part: value for part, value in command.items() if part == "resume" or not updated}
    if resumed and "resume" in left:
        answers = left.pop("resume")
        if _is_resume_map(answers):
            # Each answer is stored with the task that took it: those of tasks that took none are still to be given.
            waiting = _waiting(await graph.aget_state(config, subgraphs=True), resumed)
            if unused := {key: value for key, value in answers.items() if key in waiting}:
                left["resume"] = unused
    return left


def _waiting(snapshot: StateSnapshot, resumed: set[str]) -> set[str]:
    """The interrupts of tasks that took no answer, in subgraphs too."""
    found: set[str] = set()
    for task in snapshot.tasks:
        if isinstance(task.state, StateSnapshot):
            found |= _waiting(task.state, resumed)
        elif task.id not in resumed:
            found |= {interrupt.id for interrupt in task.interrupts}
    return found


async def _command(command: dict[str, Any], graph: AnyPregel, config: RunnableConfig) -> Command[Any]:
    resume = command.get("resume")
    if resume is not None and not _is_resume_map(resume):
        # Addressed by id, a resume value is stored with the task that consumes it, and only with that.
        snapshot = await graph.aget_state(config)
        waiting = {interrupt.id for interrupt in snapshot.interrupts}
        if len(waiting) == 1:
            resume = {waiting.pop(): resume}
    update = command.get("update")
    if isinstance(update, list):
        update = [tuple(pair) for pair in update if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return Command(resume=resume, update=update, goto=_goto(command.get("goto")))


def _is_resume_map(resume: Any) -> bool:
    return (
        isinstance(resume, dict)
        and bool(resume)
        and all(isinstance(key, str) and len(key) == 32 and _is_hex(key) for key in resume)
    )


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _goto(goto: Any) -> Any:
    if isinstance(goto, dict):
        return Send(goto["node"], goto.get("input"))
    if isinstance(goto, list):
        return [_goto(item) for item in goto]
    return goto if goto is not None else ()


def attempt_config(claim: Claim) -> RunnableConfig:
    """Return the run's configuration for LangGraph.

    The claim says which run and thread it is, whatever is stored with the run.
    """
    stored = claim.kwargs["config"]
    server = server_configurable(stored["configurable"])
    server |= fork_point(stored["configurable"]) | {"run_id": str(claim.run_id), "thread_id": str(claim.thread_id)}
    if claim.kwargs.get("strict_resume"):
        server[_STRICT_RESUME] = True
    config = langgraph_config([stored], server)
    config["metadata"] |= {
        "run_attempt": claim.attempt,
        "run_id": str(claim.run_id),
        "thread_id": str(claim.thread_id),
        "graph_id": claim.graph_id,
    }
    config["run_id"] = claim.run_id
    config.setdefault("run_name", claim.graph_id)
    return config  # type: ignore[return-value]


def confirmed(graph: AnyPregel, config: RunnableConfig, scope: Scope) -> RunnableConfig:
    """Return the configuration to use with the graph, once LangGraph's own merge was seen to keep the server's keys.

    A graph may be bound to a configuration, and LangGraph has rules of its own for what goes over what. Raises
    `OutOfScope` if the merge changes where the run is or who asks for it. A run has no more supersteps than the server
    allows, whoever gives the number.
    """
    # The function by which `astream` merges, looked up where `astream` finds it.
    merged = pregel.ensure_config(graph.config, config)  # type: ignore[attr-defined]
    scope.require_unchanged(config["configurable"], merged["configurable"])
    if merged["recursion_limit"] > settings.RECURSION_LIMIT_MAX:
        return {**config, "recursion_limit": settings.RECURSION_LIMIT_MAX}
    return config


def without_fork_point(config: RunnableConfig) -> RunnableConfig:
    """The configuration that addresses the thread's head."""
    configurable = {key: value for key, value in config["configurable"].items() if key not in FORK_KEYS}
    return {**config, "configurable": configurable}


async def chunks_of(
    graph: AnyPregel, start: Any, config: RunnableConfig, context: dict[str, Any] | None, kwargs: dict[str, Any]
) -> AsyncIterator[tuple[tuple[str, ...], str, Any]]:
    """Yield what the graph streams, as (namespace, mode, chunk).

    `values` and `updates` hold the graph's output channels only. With `events`, which shows the whole state anyway,
    they hold everything.
    """
    if context == {}:
        # LangGraph takes an empty context for none and uses the caller's, and with a caller always the caller's store.
        caller: Runtime[Any] = Runtime(context=context, store=graph.store)
        config = {**config, "configurable": {**config["configurable"], _CALLERS_RUNTIME: caller}}
    asked = kwargs["stream_mode"]
    durability = kwargs["durability"]
    if kwargs["temporary"] and not _SHOWS_CHECKPOINTS.intersection(asked):
        # Nobody can read the checkpoints of a stateless run; it makes only the last.
        durability = "exit"
    options: dict[str, Any] = {
        "stream_mode": graph_modes(asked),
        "subgraphs": kwargs["subgraphs"],
        "context": context,
        "durability": durability,
        "interrupt_before": kwargs["interrupt_before"],
        "interrupt_after": kwargs["interrupt_after"],
    }
    if "events" not in asked:
        async for item in graph.astream(start, config, output_keys=graph.output_channels, **options):
            yield item if kwargs["subgraphs"] else ((), *item)
        return
    root = str(config["run_id"])
    async for event in graph.astream_events(start, config, version="v2", **options):
        if event["event"] == "on_chain_stream" and event["run_id"] == root:
            item = event["data"]["chunk"]
            yield item if kwargs["subgraphs"] else ((), *item)
        else:
            yield (), "events", event
