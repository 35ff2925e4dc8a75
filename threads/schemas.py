"""Request and response bodies of the thread operations."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from platform_site.core.http.openapi import every_field_optional
from platform_site.core.http.paging import Limit, Offset
from platform_site.core.project.sections import Minutes
from platform_site.core.validation import ThreadId
from platform_site.core.wire import Schema

Status = Literal["idle", "busy", "interrupted", "error"]


class SendTo(Schema):
    node: str
    input: Any = None


class SuperstepCommand(Schema):
    """What a node returns that says where to go on."""

    update: dict[str, Any] | list[Any] | None = None
    goto: str | SendTo | list[str | SendTo] | None = None
    resume: Any = None


class SuperstepUpdate(Schema):
    """What a node is taken to have returned: values, or a command."""

    values: list[Any] | dict[str, Any] | None = None
    command: SuperstepCommand | None = None
    as_node: str

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.command is not None and self.values is not None:
            raise ValueError("An update has either `values` or a `command`")
        return self


class Superstep(Schema):
    updates: list[SuperstepUpdate]


class ThreadTTL(Schema):
    """Minutes after its last activity after which a thread is deleted, or loses its past; absent: as it was."""

    ttl: Minutes | None = None
    strategy: Literal["delete", "keep_latest"] | None = None

    @property
    def is_given(self) -> bool:
        return self.ttl is not None or self.strategy is not None


class ThreadCreate(Schema):
    thread_id: ThreadId | None = None
    metadata: dict[str, Any] = {}
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: ThreadTTL = ThreadTTL()
    supersteps: list[Superstep] | None = None


class ThreadPrune(Schema):
    thread_ids: list[ThreadId]
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadPruned(Schema):
    pruned_count: int


class Counted(Schema):
    count: int
    bytes: int


class ChannelVersions(Schema):
    versions: int
    bytes: int


class ChannelValues(Counted):
    by_channel: dict[str, ChannelVersions]


class ThreadStorage(Schema):
    thread_id: str
    total_bytes: int
    checkpoints: Counted
    channel_values: ChannelValues
    pending_writes: Counted


class MessageCreate(Schema):
    role: Literal["user", "human", "assistant", "ai", "system", "developer"]
    content: str | list[str | dict[str, Any]]


class Message(BaseModel):
    """A message as LangChain writes it, with the role it was sent with."""

    model_config = ConfigDict(extra="allow")

    id: str | None
    type: str
    role: str
    content: Any


class StatePatch(Schema):
    metadata: dict[str, Any]


class ThreadPatch(Schema):
    metadata: dict[str, Any] = {}
    ttl: ThreadTTL = ThreadTTL()


class ThreadCount(Schema):
    metadata: dict[str, Any] = {}
    values: dict[str, Any] = {}
    status: Status | None = None


class ThreadSearch(ThreadCount):
    ids: list[str] | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = "updated_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: (
        list[
            Literal[
                "thread_id",
                "created_at",
                "updated_at",
                "state_updated_at",
                "metadata",
                "config",
                "status",
                "values",
                "interrupts",
                "error",
            ]
        ]
        | None
    ) = None
    extract: dict[str, str] | None = None
    # Not in the contract, whose rows may have a `ttl` all the same.
    include: list[Literal["ttl"]] = []


class CheckpointRef(Schema):
    """A place in a thread's history. Without `checkpoint_id`: the newest one of the namespace."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    checkpoint_map: dict[str, str] | None = None


class StateUpdate(Schema):
    values: list[Any] | dict[str, Any] | None = None
    as_node: str | None = None
    checkpoint: CheckpointRef | None = None
    checkpoint_id: str | None = None


class StateAtCheckpoint(Schema):
    checkpoint: CheckpointRef
    subgraphs: bool = False
    select: list[str] | None = None


class CheckpointOrConfig(CheckpointRef):
    """A checkpoint as states show it, or the configuration that holds it."""

    configurable: CheckpointRef | None = None


class HistorySearch(Schema):
    limit: Limit = 1
    before: str | CheckpointOrConfig | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: CheckpointRef | None = None
    select: list[str] | None = None


class ThreadCopied(Schema):
    """A new thread, without what only runs make."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: Status
    config: dict[str, Any]


class ThreadTTLShown(BaseModel):
    """What a thread has to live, and when that is over if nothing happens on it before."""

    strategy: Literal["delete", "keep_latest"]
    ttl_minutes: float
    expires_at: str


class Thread(ThreadCopied):
    """A thread with what its last run has left."""

    values: dict[str, Any] | list[Any] | None
    error: Any = None
    interrupts: dict[str, list[dict[str, Any]]] | None = None
    extracted: dict[str, Any] | None = None
    # Where it was asked for, or set by the request.
    ttl: ThreadTTLShown | None = None


class Problem(Schema):
    detail: str


class ThreadSelected(Thread):
    """A thread, or those of its fields that `select` names."""

    model_config = ConfigDict(json_schema_extra=every_field_optional)


class ThreadState(Schema):
    values: Any
    next: list[str]
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    created_at: str | None
    checkpoint: dict[str, Any] | None
    parent_checkpoint: dict[str, Any] | None
    interrupts: list[dict[str, Any]]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class ThreadStateSelected(ThreadState):
    """A state, or those of its fields that `select` names."""

    model_config = ConfigDict(json_schema_extra=every_field_optional)


class StateUpdated(Schema):
    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str
