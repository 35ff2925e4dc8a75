"""The configuration that LangGraph is given: which keys it may have, who sets them, and what their values may be.

LangGraph moves every top-level key that it does not know into `configurable`, over what is there. So nothing reaches it
but what `langgraph_config` takes from a source.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from django.conf import settings
from pydantic import AfterValidator, Field, ValidationError

from platform_site.core.errors import Unprocessable
from platform_site.core.validation import validation_detail
from platform_site.core.wire import Schema

# The keys of a configuration that LangGraph is given.
KNOWN_KEYS = ("tags", "recursion_limit", "run_name", "max_concurrency", "configurable", "metadata")
# Keys of `configurable` that address a checkpoint of the thread. Only the request for a run may give them.
FORK_KEYS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
# Keys of `configurable` by which a graph knows where it runs and for whom. Only the server sets them.
SERVER_KEYS = frozenset({
    "langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions", "langgraph_request_id",
    "run_id", "thread_id", "graph_id", "assistant_id", "cron_id",
})  # fmt: skip
# A counter that LangGraph keeps in the metadata of checkpoints: it copies a number or text of this name there from
# `configurable` and `metadata`, and the thread could not be read again.
_CHECKPOINT_COUNTER = "counters_since_delta_snapshot"
_RESERVED = SERVER_KEYS.union(FORK_KEYS, {_CHECKPOINT_COUNTER})
_LARGEST_COUNT = 2**31 - 1


def _within_the_servers_limit(value: int) -> int:
    if value > settings.RECURSION_LIMIT_MAX:
        limit = settings.RECURSION_LIMIT_MAX
        raise ValueError(f"{value} is greater than the maximum of {limit}, this server's RECURSION_LIMIT_MAX")
    return value


def _with_valid_fork_point(configurable: dict[str, Any]) -> dict[str, Any]:
    for name in ("checkpoint_id", "checkpoint_ns"):
        if not isinstance(configurable.get(name), str | None):
            raise ValueError(f"`configurable.{name}` must be a string")
    found = configurable.get("checkpoint_map")
    if found is not None and not (isinstance(found, dict) and all(isinstance(value, str) for value in found.values())):
        raise ValueError("`configurable.checkpoint_map` must be an object of strings")
    return configurable


RecursionLimit = Annotated[int, Field(ge=1), AfterValidator(_within_the_servers_limit)]
MaxConcurrency = Annotated[int, Field(ge=1, le=_LARGEST_COUNT)]
Configurable = Annotated[dict[str, Any], AfterValidator(_with_valid_fork_point)]


class RunConfig(Schema):
    """The configuration of a run as a request gives it. Unknown keys are ignored."""

    tags: list[str] | None = None
    recursion_limit: RecursionLimit | None = None
    configurable: Configurable | None = None
    metadata: dict[str, Any] | None = None
    run_name: str | None = None
    max_concurrency: MaxConcurrency | None = None


def require_valid(config: Mapping[str, Any], owner: str) -> None:
    """Raise `Unprocessable`, naming `owner`, for a stored configuration that no run could be made with.

    What was stored was checked, but the server's limit may have been lowered since.
    """
    try:
        RunConfig.model_validate(config)
    except ValidationError as error:
        raise Unprocessable(f"{owner}: {_detail(error, {'config': config})}") from None


def _detail(error: ValidationError, body: Mapping[str, Any]) -> str:
    errors: Sequence[dict[str, Any]] = [
        {**item, "loc": ("body", "config", "config", *item["loc"])} for item in error.errors(include_url=False)
    ]
    return validation_detail(errors, body)


def langgraph_config(sources: Iterable[Mapping[str, Any] | None], server: Mapping[str, Any]) -> dict[str, Any]:
    """Merge configurations, the least important first, into the one that LangGraph is given.

    The sources are merged as in `merged_config`. `server` gives the keys of `configurable` that only the server sets. A
    `user_id` that a source gives stands; where none does, it is the identity of the caller.
    """
    return with_server_keys(merged_config(sources), server)


def with_server_keys(merged: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """Return a merged configuration completed by the server's keys, as `langgraph_config` describes it."""
    configurable = dict(merged["configurable"])
    if configurable.get("user_id") is None and "langgraph_auth_user_id" in server:
        configurable["user_id"] = server["langgraph_auth_user_id"]
    return {**merged, "configurable": {**configurable, **server}}


def merged_config(sources: Iterable[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Merge configurations, the least important first.

    Only known keys are taken. `configurable` and `metadata` are merged key by key; of every other key the last value
    that is not null counts. No source decides over the server's keys, the fork point, or the names by which LangGraph
    steers itself.
    """
    merged: dict[str, Any] = {}
    configurable: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for source in sources:
        for key in KNOWN_KEYS:
            value = source.get(key) if source else None
            if value is None:
                continue
            if key == "configurable":
                configurable |= own_configurable(value)
            elif key == "metadata":
                metadata |= value
            else:
                merged[key] = value
    metadata.pop(_CHECKPOINT_COUNTER, None)
    return {**merged, "metadata": metadata, "configurable": configurable}


def own_configurable(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a `configurable` that a source may give."""
    return {key: value for key, value in configurable.items() if not is_reserved(key)}


def is_reserved(key: str) -> bool:
    """Return whether the server or LangGraph sets this key of `configurable`, whatever a source says."""
    return key.startswith(("__", "langgraph_auth_")) or key in _RESERVED


def server_configurable(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a `configurable` that only the server sets."""
    return {key: configurable[key] for key in SERVER_KEYS if key in configurable}


def fork_point(configurable: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the keys of a `configurable` that address a checkpoint."""
    return {key: configurable[key] for key in FORK_KEYS if configurable and configurable.get(key) is not None}
