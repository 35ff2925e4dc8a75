"""Request and response bodies of the assistant operations."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import ConfigDict, Field, WithJsonSchema

from platform_site.core.http.openapi import every_field_optional
from platform_site.core.http.paging import Limit, Offset
from platform_site.core.run_config import Configurable, RecursionLimit, RunConfig
from platform_site.core.validation import AssistantId
from platform_site.core.wire import Schema

Name = Annotated[str, Field(max_length=500)]
Column = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "created_at",
    "updated_at",
    "metadata",
    "version",
]
COLUMNS: tuple[str, ...] = (
    "assistant_id",
    "graph_id",
    "config",
    "context",
    "metadata",
    "name",
    "created_at",
    "updated_at",
    "version",
    "description",
)


# Read by the view, which has words of its own for what is neither.
Xray = Annotated[str, WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1}]})]


class Config(RunConfig):
    """A LangGraph config. Keys that are not named here are kept for the wire, and no run is given them."""

    model_config = ConfigDict(extra="allow")

    tags: list[str] = []
    recursion_limit: RecursionLimit = 25
    configurable: Configurable = {}

    def given(self) -> dict[str, Any]:
        """The config as it was sent."""
        return self.model_dump(exclude_unset=True)


class AssistantCreate(Schema):
    graph_id: str
    assistant_id: AssistantId = Field(default_factory=uuid4)
    config: Config = Config()
    context: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    if_exists: Literal["raise", "do_nothing"] = "raise"
    name: Name = "Untitled"
    description: str | None = None


class AssistantPatch(Schema):
    """Only the fields that were sent change anything: see `model_fields_set`."""

    graph_id: str = ""
    config: Config = Config()
    context: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    name: Name = ""
    description: str | None = None


class AssistantCount(Schema):
    """Empty filters match everything, as absent ones do; null is neither."""

    metadata: dict[str, Any] = {}
    graph_id: str = ""
    # Longer than any name; no database takes patterns of any length.
    name: Name = ""


class AssistantSearch(AssistantCount):
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[Column] = []


class VersionSearch(Schema):
    metadata: dict[str, Any] = {}
    limit: Limit = 10
    offset: Offset = 0


class VersionChange(Schema):
    version: int = 0

    @property
    def chosen(self) -> int | None:
        """The version that was named, if one was."""
        return self.version if "version" in self.model_fields_set else None


class AssistantVersion(Schema):
    """An assistant as it was."""

    assistant_id: UUID
    version: int
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    created_at: datetime
    name: str
    description: str | None


class Assistant(AssistantVersion):
    updated_at: datetime


class AssistantSelected(Assistant):
    """An assistant, or those of its fields that `select` names."""

    model_config = ConfigDict(json_schema_extra=every_field_optional)


class Node(Schema):
    id: str
    type: str | None = None
    data: dict[str, Any] | None = None


class Edge(Schema):
    source: str
    target: str
    conditional: bool = False


class Graph(Schema):
    nodes: list[Node]
    edges: list[Edge]


class SubgraphSchemas(Schema):
    """JSON schemas of a graph."""

    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    state_schema: dict[str, Any] | None
    config_schema: dict[str, Any] | None
    context_schema: dict[str, Any] | None


class GraphSchemas(SubgraphSchemas):
    graph_id: str
