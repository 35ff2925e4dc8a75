"""What a run is started with: the assistant's configuration and the request's, merged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

from platform_site.access.principal import Principal
from platform_site.core import tracing
from platform_site.core.config import config as server_config
from platform_site.core.errors import BadRequest, Unprocessable
from runs.schemas import RunCreate
from runs.webhooks.policy import webhook_check

BOTH_GIVEN = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in LangGraph "
    "0.6.0 and is the long term planned replacement for configurable."
)
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
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
    webhook_check(body.webhook)
    if has_thread:
        return
    if body.command is not None and body.command.model_dump(exclude_none=True):
        raise BadRequest("You must provide a thread_id when resuming.")
    if body.checkpoint_id or (body.checkpoint is not None and body.checkpoint.checkpoint_id):
        raise Unprocessable("`checkpoint_id` names a checkpoint of a thread, and a stateless run has a new thread")


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
    """The stored form of a run: `kwargs` as the wire shows it, and its metadata."""

    kwargs: dict[str, Any]
    metadata: dict[str, Any]
    thread_config: dict[str, Any]


def plan_run(
    principal: Principal,
    body: RunCreate,
    assistant: Configured,
    *,
    run_id: UUID,
    thread_id: UUID,
    thread_metadata: Mapping[str, Any],
    request_id: str,
    headers: Mapping[str, str] = NO_HEADERS,
    temporary: bool,
) -> RunPlan:
    """Merge the server's defaults, the assistant and the request. `headers` are those that a run is to see.

    Raises `BadRequest` if both `configurable` and `context` are given.
    """
    assistant = _over_defaults(assistant)
    asked = body.config.model_dump(exclude_none=True)
    configurable, context = _parameters(asked.get("configurable"), body.context, assistant)
    asked_metadata = {**assistant.config.get("metadata", {}), **asked.get("metadata", {}), **body.metadata}
    metadata = {**assistant.metadata, **thread_metadata, **asked_metadata}
    metadata["assistant_id"] = str(assistant.assistant_id)
    server = {**_own(headers), **_server_keys(principal, assistant, run_id, thread_id, request_id)}
    config = {
        **{key: value for key, value in assistant.config.items() if key not in ("configurable", "metadata")},
        **{key: value for key, value in asked.items() if key not in ("configurable", "metadata")},
        "metadata": metadata,
        "configurable": {**configurable, **_checkpoint(body), **server},
    }
    modes = body.stream_mode if isinstance(body.stream_mode, list) else [body.stream_mode]
    durability = body.durability or ("exit" if body.checkpoint_during is False else "async")
    kwargs = {
        "input": body.input,
        "command": (body.command and body.command.model_dump(exclude_none=True)) or None,
        "config": config,
        "context": context,
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
    if body.strict_resume:
        kwargs["strict_resume"] = True
    if trace := tracing.kept(headers):
        kwargs["trace"] = trace
    thread_config = {**asked, "configurable": _own(asked.get("configurable"))}
    return RunPlan(kwargs=kwargs, metadata=metadata, thread_config=thread_config)


def _over_defaults(assistant: Configured) -> Configured:
    """The assistant with the default config of the server (`LANGGRAPH_CONFIG`) below its own."""
    defaults = server_config().run_defaults
    if not defaults:
        return assistant
    merged = {**defaults, **assistant.config}
    for part in ("configurable", "metadata"):
        merged[part] = {**defaults.get(part, {}), **assistant.config.get(part, {})}
    return replace(assistant, config=merged)


def _own(configurable: Mapping[str, Any] | None) -> dict[str, Any]:
    """A client's configurable without the keys by which LangGraph steers itself."""
    return {key: value for key, value in (configurable or {}).items() if not key.startswith("__")}


def _parameters(
    configurable: Mapping[str, Any] | None, context: Mapping[str, Any] | None, assistant: Configured
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`configurable` and `context`, each per key over the assistant's; one given alone stands for both."""
    if configurable and context:
        raise BadRequest(BOTH_GIVEN)
    given = _own(configurable or context)
    return (
        {**_own(assistant.config.get("configurable")), **given},
        {**assistant.context, **given},
    )


def _checkpoint(body: RunCreate) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if body.checkpoint is not None:
        found = body.checkpoint.model_dump(exclude_none=True, exclude={"thread_id"})
    if body.checkpoint_id and "checkpoint_id" not in found:
        found["checkpoint_id"] = body.checkpoint_id
    if not found.get("checkpoint_ns"):
        found.pop("checkpoint_ns", None)
    return found


def _server_keys(
    principal: Principal, assistant: Configured, run_id: UUID, thread_id: UUID, request_id: str
) -> dict[str, Any]:
    return {
        "langgraph_auth_user": dict(principal.user) if principal.user is not None else None,
        "langgraph_auth_user_id": principal.identity,
        "langgraph_auth_permissions": list(principal.permissions),
        "langgraph_request_id": request_id,
        "run_id": str(run_id),
        "thread_id": str(thread_id),
        "graph_id": assistant.graph_id,
        "assistant_id": str(assistant.assistant_id),
        "user_id": principal.identity,
    }
