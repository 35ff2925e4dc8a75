"""What a run is started with: the assistant's configuration and the request's, merged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from platform_site.access.principal import Principal, Role
from platform_site.core.errors import BadRequest, Unprocessable
from platform_site.core.graphs.context import context_keys
from platform_site.core.run_config import fork_point, merged_config, require_valid, with_server_keys
from platform_site.core.telemetry import tracing
from runs.hooks import webhook_admitting, webhook_checking
from runs.schemas import RunCreate

BOTH_GIVEN = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in LangGraph "
    "0.6.0 and is the long term planned replacement for configurable."
)
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
NO_CONFIG: Mapping[str, Any] = MappingProxyType({})
# Fields of the contract that are refused by name when they ask for something, and why.
REFUSED = {
    "feedback_keys": "it asks for feedback URLs of LangSmith, which Switchyard does not talk to",
    "langsmith_tracer": "it asks for traces in LangSmith, which Switchyard does not talk to",
    "raise_error": "it is an option of the client; the answer's status is sent before the run ends",
}


def check_run(body: RunCreate, *, has_thread: bool) -> None:
    """Raises `Unprocessable` and `BadRequest` for what a run cannot be asked for."""
    for name, reason in REFUSED.items():
        if getattr(body, name):
            raise Unprocessable(f"`{name}` is not supported: {reason}")
    if body.webhook is not None:
        webhook_checking.send(body.webhook)
    if has_thread:
        return
    if body.command is not None and body.command.model_dump(exclude_none=True):
        raise BadRequest("You must provide a thread_id when resuming.")
    if _fork_point(body).get("checkpoint_id"):
        raise Unprocessable("`checkpoint_id` names a checkpoint of a thread, and a stateless run has a new thread")


async def webhooks_admit(urls: Iterable[str | None]) -> None:
    """Refuse webhooks of runs that may not be called, also by where their hosts lead. Raises `Unprocessable`.

    Callers on an event loop ask this before they call a service: looking a name up takes time, which neither a loop
    nor a database thread has.
    """
    for url in dict.fromkeys(urls):
        if url is not None:
            await webhook_admitting.send(url)


@dataclass(frozen=True)
class Configured:
    """An assistant as a run takes it over."""

    assistant_id: UUID
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class RunPlan:
    """The stored form of a run: `kwargs` as the wire shows it, its metadata, and what its thread keeps of it."""

    kwargs: dict[str, Any]
    metadata: dict[str, Any]
    # What the thread shows: the request's configuration without its `configurable`.
    thread_config: dict[str, Any]
    # What the thread's state is read with: the merged configuration without what only the server sets. Beside
    # LangGraph's keys it may have `user_id`, the one that a request gave; later runs of the thread have it, too.
    run_config: dict[str, Any]


def plan_run(
    principal: Principal,
    body: RunCreate,
    assistant: Configured,
    *,
    run_id: UUID,
    thread_id: UUID,
    thread_metadata: Mapping[str, Any],
    last_config: Mapping[str, Any] = NO_CONFIG,
    request_id: str,
    headers: Mapping[str, str] = NO_HEADERS,
    cron_id: UUID | None = None,
    temporary: bool,
) -> RunPlan:
    """Merge the assistant and the request.

    `last_config` is the `run_config` of the thread's last run, `headers` are those that the run is to see, `cron_id` is
    the cron that makes it. Raises `BadRequest` if both `configurable` and `context` are given, and `Unprocessable` for
    an assistant whose config no run may have.
    """
    require_valid(assistant.config, f"The config of assistant {assistant.assistant_id}")
    asked = body.config.model_dump(exclude_none=True)
    given = _given(asked.get("configurable"), body.context)
    metadata = {**assistant.metadata, **thread_metadata}
    for source in (assistant.config, asked):
        metadata |= source.get("metadata") or {}
    metadata |= {**body.metadata, "assistant_id": str(assistant.assistant_id)}
    remembered = {"user_id": last_config["user_id"]} if "user_id" in last_config else {}
    beside = [assistant.config, {"configurable": remembered}]
    merged = merged_config([
        *beside,
        {**asked, "configurable": given},
        {"configurable": headers, "metadata": metadata},
    ])  # fmt: skip
    config = with_server_keys(
        merged,
        server={
            **_fork_point(body),
            **principal.configurable,
            "langgraph_request_id": request_id,
            "run_id": str(run_id),
            "thread_id": str(thread_id),
            "graph_id": assistant.graph_id,
            "assistant_id": str(assistant.assistant_id),
            **({"cron_id": str(cron_id)} if cron_id else {}),
        },
    )
    modes = body.stream_mode if isinstance(body.stream_mode, list) else [body.stream_mode]
    durability = body.durability or ("exit" if body.checkpoint_during is False else "async")
    kwargs = {
        "input": body.input,
        "command": (body.command and body.command.model_dump(exclude_none=True)) or None,
        "config": config,
        "context": {**assistant.context, **given},
        "stream_mode": list(dict.fromkeys(modes)) or ["values"],
        "interrupt_before": body.interrupt_before,
        "interrupt_after": body.interrupt_after,
        "webhook": body.webhook,
        "feedback_keys": body.feedback_keys,
        "temporary": temporary,
        "subgraphs": body.stream_subgraphs,
        "resumable": body.stream_resumable,
        "checkpoint_during": durability != "exit",
        "durability": durability,
    }
    if principal.identity or principal.role is not Role.ADMIN:
        # The role under which the SDK acts in the graph (`engine/caller.py`). A run without a name and a role acts for
        # the superuser of open mode.
        kwargs["role"] = principal.role.value
    if body.strict_resume:
        kwargs["strict_resume"] = True
    if body.context and (mirrored := sorted(given.keys() - merged_config(beside)["configurable"].keys())):
        kwargs["mirrored"] = mirrored
    if trace := tracing.kept(headers):
        kwargs["trace"] = trace
    return RunPlan(
        kwargs=kwargs,
        metadata=metadata,
        thread_config={**asked, "configurable": {}},
        run_config={**merged, **remembered, **_user_of(asked)},
    )


def _given(configurable: Mapping[str, Any] | None, context: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the request's `configurable` or its `context`: one given alone stands for both.

    Names by which LangGraph steers itself are left out.
    """
    if configurable and context:
        raise BadRequest(BOTH_GIVEN)
    return {key: value for key, value in (configurable or context or {}).items() if not key.startswith("__")}


def without_mirror(config: RunnableConfig, kwargs: Mapping[str, Any], context_schema: Any) -> RunnableConfig:
    """Return a run's configuration without the `configurable` that the context schema of its graph does not know.

    A `context` in the request is mirrored there (`mirrored` names the keys): a factory may read any of it, and what
    the schema is like may be known only when the factory has made the graph. What was given as `configurable` stays.
    """
    mirrored = kwargs.get("mirrored")
    if not mirrored or (known := context_keys(context_schema)) is None:
        return config
    unknown = set(mirrored) - known
    configurable = {key: value for key, value in config["configurable"].items() if key not in unknown}
    return {**config, "configurable": configurable}


def _user_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `user_id` in the `configurable` of a request, if it has one."""
    user_id = (asked.get("configurable") or {}).get("user_id")
    return {} if user_id is None else {"user_id": user_id}


def _fork_point(body: RunCreate) -> dict[str, Any]:
    """Return the keys of `configurable` that address the checkpoint at which the run begins."""
    found = fork_point(body.config.configurable)
    if body.checkpoint is not None:
        found |= body.checkpoint.model_dump(exclude_none=True, exclude={"thread_id"})
    if body.checkpoint_id and (body.checkpoint is None or not body.checkpoint.checkpoint_id):
        found["checkpoint_id"] = body.checkpoint_id
    if not found.get("checkpoint_ns"):
        found.pop("checkpoint_ns", None)
    return found
