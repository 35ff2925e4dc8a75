"""The sections of `langgraph.json` as types: what each may hold, and what it means here.

Unknown keys are kept aside and reported as warnings: files of newer tools must still start.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from platform_site.core.run_config import Configurable, MaxConcurrency, RecursionLimit

# `path/to/file.py:name` or `module.path:name`.
REFERENCE = re.compile(r"^(?P<place>[^\s:][^:]*):(?P<name>[A-Za-z_]\w*)$")


def _reference(value: str) -> str:
    if not REFERENCE.match(value):
        raise ValueError("expected `path/to/file.py:name` or `module.path:name`")
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    return value


Reference = Annotated[str, AfterValidator(_reference)]
# A century: whoever wants longer wants no end at all. Databases know no date beyond the year 9999.
LONGEST_MINUTES = 52_560_000
Minutes = Annotated[float, Field(gt=0, le=LONGEST_MINUTES)]


class Section(BaseModel):
    """Base of all sections: strict types, frozen, unknown keys kept in `model_extra`. A key that is null is absent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    # Known keys that have no effect here, each with the reason.
    WITHOUT_EFFECT: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class Graph(Section):
    path: Reference
    description: str | None = None


class AuthCache(Section):
    cache_keys: list[str] = []
    ttl_seconds: Annotated[float, Field(gt=0)] | None = None
    max_size: Annotated[int, Field(gt=0)] | None = None


class Auth(Section):
    # An instance of `langgraph_sdk.Auth`.
    path: Reference
    disable_studio_auth: bool = False
    openapi: dict[str, Any] | None = None
    cache: AuthCache | None = None


class StoreIndex(Section):
    # pgvector stores no longer ones.
    dims: Annotated[int, Field(gt=0, le=16_000)]
    # `provider:model`, or a reference to a function of ours.
    embed: Annotated[str, Field(min_length=1)]
    # Without it the whole value is embedded as one text.
    fields_: list[str] | None = Field(default=None, alias="fields")


class StoreTTL(Section):
    refresh_on_read: bool = True
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Minutes | None = None


class Store(Section):
    WITHOUT_EFFECT = {"path": "items are kept in the database of Switchyard"}

    index: StoreIndex | None = None
    ttl: StoreTTL | None = None


class CheckpointerTTL(Section):
    strategy: Literal["delete", "keep_latest"] = "delete"
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Minutes | None = None
    sweep_limit: Annotated[int, Field(gt=0)] | None = None


def _type_names(value: list[list[str]] | bool | None) -> list[list[str]] | bool | None:
    for entry in value if isinstance(value, list) else ():
        if len(entry) < 2 or not all(entry):
            raise ValueError('expected entries like ["my_agent.models", "Order"]: the module, then the type')
    return value


TypeNames = Annotated[list[list[str]] | bool | None, AfterValidator(_type_names)]


class Serde(Section):
    # Types that checkpoints may hold beyond those that a graph's own schemas name.
    allowed_msgpack_modules: TypeNames = None
    allowed_json_modules: TypeNames = None
    pickle_fallback: bool = False

    @property
    def allowed_types(self) -> frozenset[tuple[str, ...]]:
        """(module, name) of each type listed for msgpack."""
        listed = self.allowed_msgpack_modules
        if not isinstance(listed, list):
            return frozenset()
        return frozenset((".".join(entry[:-1]), entry[-1]) for entry in listed)

    @property
    def allowed_json_types(self) -> frozenset[tuple[str, ...]]:
        """The path of each type listed for JSON, as LangGraph compares it."""
        listed = self.allowed_json_modules
        return frozenset(tuple(entry) for entry in listed) if isinstance(listed, list) else frozenset()


class Checkpointer(Section):
    WITHOUT_EFFECT = {
        "path": "checkpoints are kept in the database of Switchyard",
        "backend": "checkpoints are kept in the database of Switchyard",
        "mongo": "checkpoints are kept in the database of Switchyard",
    }

    ttl: CheckpointerTTL | None = None
    serde: Serde | None = None


class Cors(Section):
    allow_origins: list[str] = []
    allow_methods: list[str] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    allow_headers: list[str] = ["*"]
    allow_credentials: bool = False
    allow_origin_regex: Annotated[str, AfterValidator(_regular_expression)] | None = None
    expose_headers: list[str] = []
    max_age: Annotated[int, Field(ge=0)] = 600


class HeaderChoice(Section):
    """Which request headers are taken: `*` in a pattern stands for anything, excludes win."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", populate_by_name=True)

    # The shorter names are in older documentation.
    includes: list[str] | None = Field(default=None, validation_alias=AliasChoices("includes", "include"))
    excludes: list[str] | None = Field(default=None, validation_alias=AliasChoices("excludes", "exclude"))


class Http(Section):
    WITHOUT_EFFECT = dict.fromkeys(
        ("app", "middleware_order", "enable_custom_route_auth"),
        "routes of one's own are not available in this version of Switchyard",
    )

    app: Reference | None = None
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_meta: bool = False
    disable_ui: bool = False
    disable_webhooks: bool = False
    cors: Cors | None = None
    configurable_headers: HeaderChoice | None = None
    logging_headers: HeaderChoice | None = None
    middleware_order: Literal["auth_first", "middleware_first"] = "middleware_first"
    enable_custom_route_auth: bool = False
    mount_prefix: str = ""

    @field_validator("mount_prefix")
    @classmethod
    def _starts_with_a_slash(cls, value: str) -> str:
        if value and (not value.startswith("/") or value.endswith("/")):
            raise ValueError("expected a path like `/api`, with a slash at its beginning and none at its end")
        if value.partition("?")[0] != value or not re.fullmatch(r"[A-Za-z0-9/._~-]*", value) or "//" in value:
            raise ValueError("expected a path of letters, digits and any of . _ ~ - between single slashes")
        if value.split("/")[1:2] in (["dashboard"], ["admin"], ["static"]):
            raise ValueError("expected a path outside of /dashboard, /admin and /static, where the pages are")
        return value

    @property
    def disabled(self) -> frozenset[str]:
        """The groups of operations that are switched off, as `routing.group_of` names them."""
        groups = ("assistants", "threads", "runs", "store", "mcp", "a2a", "meta")
        return frozenset(group for group in groups if getattr(self, f"disable_{group}"))


class WebhookUrl(Section):
    require_https: bool = True
    # Exact hosts, or `*.example.com` for every host below it.
    allowed_domains: list[str] = []
    allowed_ports: list[Annotated[int, Field(ge=1, le=65535)]] = []
    max_url_length: Annotated[int, Field(gt=0)] | None = None
    disable_loopback: bool = True


class Webhooks(Section):
    env_prefix: str = "LG_WEBHOOK_"
    # Absent: no policy beyond the addresses that are never called.
    url: WebhookUrl | None = None
    headers: dict[str, str] = {}

    # `${{ env.NAME }}` in a header's value.
    TEMPLATE: ClassVar[re.Pattern[str]] = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}")
    # What the request itself and its signature say.
    OURS: ClassVar[frozenset[str]] = frozenset({
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "te", "transfer-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp",
    })  # fmt: skip

    @model_validator(mode="after")
    def _headers_name_allowed_variables(self) -> "Webhooks":
        for header, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header) or header.lower() in self.OURS:
                raise ValueError(f"header {header!r}: expected the name of a header that webhooks do not have already")
            if not re.fullmatch(r"[\t\x20-\x7e]*", value):
                raise ValueError(f"header {header!r}: expected a value of one line in ASCII")
            for variable in self.TEMPLATE.findall(value):
                if not variable.startswith(self.env_prefix):
                    raise ValueError(
                        f"header {header!r} names the variable {variable}; expected one that begins with "
                        f"{self.env_prefix!r} (`webhooks.env_prefix`)"
                    )
        return self


class AssistantConfig(Section):
    """The config of a system assistant: what `LANGGRAPH_CONFIG` may hold for a graph. Other keys have no effect."""

    tags: list[str] = []
    recursion_limit: RecursionLimit = 25
    max_concurrency: MaxConcurrency | None = None
    run_name: str | None = None
    configurable: Configurable = {}
    metadata: dict[str, Any] = {}


class File(Section):
    """The whole file as it was written, before paths are made absolute and variables are read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", populate_by_name=True)

    # Keys for those who build images from the file.
    FOR_IMAGES: ClassVar[frozenset[str]] = frozenset({
        "_INTERNAL_docker_tag", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools",
        "node_version", "pip_config_file", "pip_installer", "python_version", "source",
    })  # fmt: skip
    WITHOUT_EFFECT = {
        **dict.fromkeys(FOR_IMAGES, "used only when an image is built"),
        **dict.fromkeys(("ui", "ui_config"), "components of a user interface are not served"),
        "priority": "the runs of all threads take their turns in the order in which they were made",
    }

    graphs: Annotated[dict[str, Annotated[str, AfterValidator(_reference)] | Graph], Field(min_length=1)]
    # Absent: the directory of the file.
    dependencies: list[str] = ["."]
    # A list is an older form: names of variables that the process has already.
    env: str | dict[str, Any] | list[str] = {}
    # Only says where the schema of the file is.
    schema_: str | None = Field(default=None, alias="$schema")
    auth: Auth | None = None
    store: Store | None = None
    checkpointer: Checkpointer | None = None
    http: Http | None = None
    webhooks: Webhooks | None = None
