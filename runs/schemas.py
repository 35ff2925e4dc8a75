"""Request and response bodies of the run operations."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from platform_site.core.http.openapi import every_field_optional
from platform_site.core.run_config import RunConfig
from platform_site.core.validation import RunId, ThreadId
from platform_site.core.wire import Schema, encode
from threads.schemas import CheckpointRef

StreamMode = Literal[
    "values", "messages", "messages-tuple", "tasks", "checkpoints", "updates", "events", "debug", "custom"
]
Nodes = Literal["*"] | list[str]


class Send(Schema):
    node: str
    input: Any = None


class Command(Schema):
    update: dict[str, Any] | list[Any] | None = None
    resume: Any = None
    goto: Send | str | list[Send | str] | None = None


class RunOptions(Schema):
    """What a run and a cron can be asked for alike."""

    input: Any = None
    checkpoint_id: str | None = None
    metadata: dict[str, Any] = {}
    config: RunConfig = RunConfig()
    context: dict[str, Any] | None = None
    webhook: Annotated[str, Field(min_length=1, max_length=65536)] | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    stream_mode: StreamMode | list[StreamMode] = "values"
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = "enqueue"
    checkpoint_during: bool | None = None
    durability: Literal["sync", "async", "exit"] | None = None


class RunCreate(RunOptions):
    """What a run can be asked for, on a thread and without one."""

    assistant_id: str
    command: Command | None = None
    checkpoint: CheckpointRef | None = None
    feedback_keys: list[str] | None = None
    if_not_exists: Literal["create", "reject"] = "reject"
    on_completion: str | None = None
    on_disconnect: str | None = None
    after_seconds: Annotated[float, Field(ge=0, le=10**9)] | None = None
    langsmith_tracer: Any = None
    strict_resume: bool | None = None
    raise_error: bool | None = None


class RunCreateStateless(RunCreate):
    """A run on a thread of its own; `on_completion` says what becomes of that."""

    on_completion: Literal["delete", "keep"] = "delete"


# One transaction makes all of them or none: it must not last.
MOST_IN_BATCH = 1000
RunBatch = Annotated[list[RunCreateStateless], Field(min_length=1, max_length=MOST_IN_BATCH)]


class RunsCancel(Schema):
    """Which runs to cancel: those of a status, or those named of one thread."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: ThreadId | None = None
    run_ids: list[RunId] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "RunsCancel":
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if self.model_fields_set != given or given not in ({"status"}, {"thread_id", "run_ids"}):
            # The fields of this model only: what else the body holds does not matter.
            shown = encode(self.model_dump(exclude_unset=True)).decode()
            raise ValueError(f"{shown} is not valid under any of the schemas listed in the 'oneOf' keyword")
        return self


class Run(Schema):  # type: ignore[no-redef]  # the pydantic plugin takes the field `kwargs` for **kwargs
    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: Literal["pending", "running", "error", "success", "timeout", "interrupted"]
    metadata: dict[str, Any]
    kwargs: dict[str, Any]
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"]
    langsmith_session_name: str | None = None


class RunSelected(Run):  # type: ignore[no-redef]  # as above
    """A run, or those of its fields that `select` names."""

    model_config = ConfigDict(json_schema_extra=every_field_optional)
