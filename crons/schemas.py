"""Request and response bodies of the cron operations."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from platform_site.core.http.openapi import every_field_optional
from platform_site.core.http.paging import Limit, Offset
from platform_site.core.validation import AssistantId, ThreadId
from platform_site.core.wire import Schema, encode
from runs.schemas import RunOptions

Column = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "on_run_completed",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "user_id",
    "payload",
    "next_run_date",
    "metadata",
    "enabled",
]
SortBy = Literal["cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"]


def moment_of(text: str) -> datetime:
    """The moment of an ISO 8601 date and time; without an offset it is meant in UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is out of range") from None


def _is_moment(text: str) -> str:
    try:
        moment_of(text)
    except ValueError:
        raise ValueError(f'{encode(text).decode()} is not a "date-time"') from None
    return text


DateTime = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"}), AfterValidator(_is_moment)]


class CronOptions(RunOptions):
    """What a cron can be asked for: its schedule, its policies, and what its runs are made with."""

    timezone: str = ""
    end_time: DateTime | None = None
    enabled: bool = True
    # Ours; the contract does not have them.
    misfire_policy: Literal["run_once", "skip"] = "run_once"
    overlap_policy: Literal["allow", "skip"] = "allow"


class CronCreate(CronOptions):
    schedule: str
    assistant_id: str
    # Refused where there is a thread: that stays.
    on_run_completed: str | None = None


class CronCreateStateless(CronCreate):
    """A cron whose runs have a thread of their own; `on_run_completed` says what becomes of that."""

    on_run_completed: Literal["delete", "keep"] = "delete"


class CronPatch(CronOptions):
    """Only the fields that were sent change anything: see `model_fields_set`."""

    schedule: str = ""
    on_run_completed: Literal["delete", "keep"] = "delete"


class CronCount(Schema):
    assistant_id: AssistantId | None = None
    thread_id: ThreadId | None = None
    metadata: dict[str, Any] = {}


class CronSearch(CronCount):
    enabled: bool | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: SortBy = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[Column] = []


class Cron(Schema):
    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    end_time: str | None
    schedule: str
    timezone: str | None
    payload: dict[str, Any]
    next_run_date: str | None
    metadata: dict[str, Any]
    on_run_completed: Literal["delete", "keep"] | None
    enabled: bool
    created_at: str
    updated_at: str


class CronSelected(Cron):
    """A cron, or those of its fields that `select` names."""

    model_config = ConfigDict(json_schema_extra=every_field_optional)
