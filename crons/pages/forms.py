"""The form of a cron: from what a person typed to a request of the API, and back."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from django.http import QueryDict
from pydantic import ValidationError

from crons.models import Cron
from crons.schedule import Schedule, ScheduleError, parse, zone_of
from crons.schemas import CronCreate, CronCreateStateless, CronPatch, moment_of
from platform_site.console.finding import as_uuid
from platform_site.console.wording import TOO_DEEP
from platform_site.core.errors import NOT_STORABLE
from platform_site.core.wire import encode, has_nul

FIELDS = ("name", "assistant", "thread", "schedule", "zone", "ends", "input", "webhook", "on_run_completed",
          "misfire_policy", "overlap_policy")  # fmt: skip
# Fields of the API whose name in the form is another one.
_NAMES = {"timezone": "zone", "end_time": "ends", "assistant_id": "assistant", "metadata": "name"}
Body = TypeVar("Body", CronCreate, CronPatch)
_MOMENT = "%Y-%m-%dT%H:%M"


@dataclass
class CronForm:
    """What stands in the fields, and what is wrong with it."""

    values: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)

    def read_schedule(self) -> Schedule | None:
        """The schedule, None if there is none or it is wrong: `errors` says why."""
        zone = self.values["zone"] or None
        try:
            zone_of(zone)
        except ScheduleError as error:
            self.errors["zone"] = str(error)
            return None
        if not self.values["schedule"]:
            return None
        try:
            return parse(self.values["schedule"], zone)
        except ScheduleError as error:
            self.errors["schedule"] = str(error)
            return None

    def read_end(self) -> datetime | None:
        """The end in UTC, None if there is none or it is wrong: `errors` says so."""
        if not self.values["ends"]:
            return None
        try:
            return moment_of(self.values["ends"])
        except ValueError:
            self.errors["ends"] = "Not a date and a time, like 2026-12-31T18:00."
            return None


def new_form(assistant: str = "", thread: str = "") -> CronForm:
    values = dict.fromkeys(FIELDS, "")
    chosen = {"assistant": assistant, "thread": thread, "schedule": "0 9 * * mon-fri", "on_run_completed": "delete",
              "misfire_policy": "run_once", "overlap_policy": "allow"}  # fmt: skip
    return CronForm(values | chosen)


def form_of(cron: Cron) -> CronForm:
    """The form as the cron fills it."""
    payload, name = cron.payload, cron.metadata.get("name")
    has_input = payload.get("input") is not None
    return CronForm({
        "name": name if isinstance(name, str) else "",
        "assistant": str(cron.assistant_id),
        "thread": str(cron.thread_id or ""),
        "schedule": cron.schedule,
        "zone": cron.timezone or "",
        "ends": f"{cron.ends_at.astimezone(UTC):{_MOMENT}}" if cron.ends_at else "",
        "input": orjson.dumps(payload["input"], option=orjson.OPT_INDENT_2).decode() if has_input else "",
        "webhook": payload.get("webhook") or "",
        "on_run_completed": cron.on_run_completed or "delete",
        "misfire_policy": cron.misfire_policy,
        "overlap_policy": cron.overlap_policy,
    })  # fmt: skip


def typed(sent: QueryDict, form: CronForm) -> CronForm:
    """The form with what was sent; a field that was not sent stays as it is."""
    # Browsers end lines with two characters, and a NUL no field takes.
    given = {name: str(sent[name]).replace("\r\n", "\n").replace("\x00", "").strip() for name in FIELDS if name in sent}
    return CronForm(form.values | given)


def create_body(form: CronForm) -> tuple[UUID | None, CronCreate] | None:
    """The thread and the request that makes the cron; None if something is wrong, see `errors`."""
    values = form.values
    thread = as_uuid(values["thread"])
    if values["thread"] and thread is None:
        form.errors["thread"] = "Not the id of a thread."
    fields = _fields(form, [name for name in FIELDS if values[name]])
    if not values["assistant"]:
        form.errors["assistant"] = "Choose who is to run."
    if not values["schedule"]:
        form.errors["schedule"] = "Say when it is due, like 0 9 * * mon-fri."
    fields["assistant_id"] = values["assistant"]
    if thread is None:
        fields["on_run_completed"] = values["on_run_completed"]
    body = _valid(CronCreateStateless if thread is None else CronCreate, fields, form)
    return None if body is None else (thread, body)


def patch_body(form: CronForm, cron: Cron) -> CronPatch | None:
    """The request that changes what was changed in the form; None if something is wrong, see `errors`."""
    before = form_of(cron).values
    changed = [name for name in FIELDS if form.values[name] != before[name]]
    fields = _fields(form, changed)
    if "metadata" in fields:
        # What its runs have beside the name stays: a change replaces it.
        fields["metadata"] = cron.payload.get("metadata", {}) | fields["metadata"]
    if "on_run_completed" in changed and cron.thread_id is None:
        fields["on_run_completed"] = form.values["on_run_completed"]
    if not form.values["schedule"]:
        form.errors["schedule"] = "Say when it is due, like 0 9 * * mon-fri."
    return _valid(CronPatch, fields, form)


def _fields(form: CronForm, names: list[str]) -> dict[str, Any]:
    """These fields of the form as fields of the API."""
    values = form.values
    fields: dict[str, Any] = {}
    form.read_schedule()
    form.read_end()
    for name in names:
        if name in ("schedule", "misfire_policy", "overlap_policy"):
            fields[name] = values[name]
    if "zone" in names:
        fields["timezone"] = values["zone"] or "UTC"
    if "ends" in names:
        fields["end_time"] = values["ends"] or None
    if "webhook" in names:
        fields["webhook"] = values["webhook"] or None
    if "name" in names:
        fields["metadata"] = {"name": values["name"]}
    if "input" in names:
        fields["input"] = _json(form)
    return fields


def _json(form: CronForm) -> Any:
    text = form.values["input"]
    if not text:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        form.errors["input"] = f"Not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
        return None
    try:
        if has_nul(encode(value)):
            form.errors["input"] = NOT_STORABLE
    except RecursionError:
        form.errors["input"] = TOO_DEEP
    return value


def _valid(schema: type[Body], fields: dict[str, Any], form: CronForm) -> Body | None:
    try:
        body = schema.model_validate(fields)
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0])
            form.errors.setdefault(_NAMES.get(name, name), problem["msg"])
        return None
    return None if form.errors else body
