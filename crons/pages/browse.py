"""What pages read of crons and their ticks, always through the principal."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from assistants.selectors import assistant_column
from crons.models import Cron, CronTick
from crons.schedule import Schedule, ScheduleError, zone_of
from crons.selectors import cron_ticks, crons_visible
from crons.services import next_due
from platform_site.access.principal import Principal
from platform_site.console.finding import as_uuid, id_contains
from platform_site.console.wording import local_time, took
from runs.models import Run, RunStatus
from runs.status import Shown, run_shown
from threads.models import LARGE_COLUMNS_OF_THREAD

PER_PAGE = 50
TICKS_IN_STRIP = 16
TICKS_PER_PAGE = 50
STATES = {"active": "Active", "paused": "Paused", "ended": "Ended"}
_Outcome = CronTick.Outcome
_LATE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Bar:
    """A tick in the strip: its kind is told by height and outline before it is by colour."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Strip:
    bars: list[Bar]
    # The sentence that says the same.
    text: str


@dataclass(frozen=True, slots=True)
class CronRow:
    """A cron as a list shows it."""

    cron: Cron
    name: str
    zone: str
    # The next due time as the clock of its zone shows it.
    next_there: str
    # Only in the list of crons.
    strip: Strip | None = None

    @property
    def has_ended(self) -> bool:
        return self.cron.enabled and self.cron.next_run_date is None


@dataclass(frozen=True, slots=True)
class TickRow:
    """A due time as the page of a cron shows it."""

    tick: CronTick
    shown: Shown
    there: str
    # What there is to say about it.
    note: str
    # None: there was no run, or it is deleted.
    run: Run | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Due:
    """A time at which a schedule will be due, on two clocks."""

    there: str
    utc: str
    seconds: float


def cron_name(cron: Cron) -> str:
    """What a cron is called: `name` of its metadata, else its schedule."""
    name = cron.metadata.get("name")
    return name if isinstance(name, str) and name.strip() else cron.schedule


def _crons(principal: Principal) -> QuerySet[Cron]:
    return (
        crons_visible(principal)
        .annotate(assistant_name=assistant_column(principal, "name"))
        .select_related("thread")
        .defer(*LARGE_COLUMNS_OF_THREAD)
    )


def find_cron(principal: Principal, cron_id: UUID) -> Cron | None:
    """The cron with its thread and its assistant's name, or None if this principal may not see it."""
    return _crons(principal).filter(cron_id=cron_id).first()


def _narrowed(crons: QuerySet[Cron], state: str, assistant: str, text: str) -> QuerySet[Cron]:
    conditions = {
        "active": Q(enabled=True, next_run_date__isnull=False),
        "paused": Q(enabled=False),
        "ended": Q(enabled=True, next_run_date__isnull=True),
    }
    if state:
        crons = crons.filter(conditions.get(state, Q()))
    if assistant:
        whole = as_uuid(assistant)
        crons = crons.filter(assistant_id=whole) if whole else crons.none()
    if text:
        annotation, condition = id_contains("cron_id", text)
        named = Q(metadata__name__icontains=text) | Q(schedule__icontains=text) | Q(assistant_name__icontains=text)
        crons = crons.annotate(**annotation).filter(condition | named)
    return crons


def crons_page(
    principal: Principal, state: str, assistant: str, text: str, page: str
) -> tuple[Page[Cron], list[CronRow]]:
    """One page of the workspace's crons: what is due next first, what is paused last."""
    ordered = _narrowed(_crons(principal), state, assistant, text).order_by(
        "-enabled", F("next_run_date").asc(nulls_last=True), "-created_at", "pk"
    )
    found = Paginator(ordered, PER_PAGE).get_page(page)
    strips = _strips(list(found))
    return found, [_row(cron, strips[cron.cron_id]) for cron in found]


def crons_found(principal: Principal, text: str, count: int) -> list[CronRow]:
    """Crons whose name, schedule, assistant or id has this text in it."""
    return [_row(cron) for cron in _narrowed(_crons(principal), "", "", text).order_by("-created_at")[:count]]


def crons_of_thread(principal: Principal, thread_id: UUID) -> list[CronRow]:
    return [_row(cron) for cron in _crons(principal).filter(thread_id=thread_id).order_by("-created_at")[:20]]


def crons_counted(principal: Principal) -> tuple[int, int]:
    """How many crons are active, and how many are paused."""
    crons = crons_visible(principal)
    return _narrowed(crons, "active", "", "").count(), _narrowed(crons, "paused", "", "").count()


def _row(cron: Cron, strip: Strip | None = None) -> CronRow:
    return CronRow(cron, cron_name(cron), cron.timezone or "UTC", _next_there(cron), strip)


def _next_there(cron: Cron) -> str:
    return local_time(cron.next_run_date, clock_of(cron), _has_seconds(cron.schedule)) if cron.next_run_date else ""


def _has_seconds(expression: str) -> bool:
    """Whether seconds tell due times apart: then they stand in all of them."""
    return len(expression.split()) > 5


def clock_of(cron: Cron) -> tzinfo:
    """The zone of a cron; UTC where it is none any more, as zones are renamed and dropped."""
    try:
        return zone_of(cron.timezone)
    except ScheduleError:
        return UTC


def _strips(crons: list[Cron]) -> dict[UUID, Strip]:
    """The last ticks of some crons: two queries, each of which follows an index."""
    ids = [cron.cron_id for cron in crons]
    nth = CronTick.objects.filter(cron=OuterRef("pk")).order_by("-due_at").values("due_at")
    begins = dict(
        Cron.objects.filter(pk__in=ids)
        .annotate(begin=Subquery(nth[TICKS_IN_STRIP - 1 : TICKS_IN_STRIP]))
        .values_list("pk", "begin")
    )
    wanted = Q(pk__in=[])
    for cron_id, begin in begins.items():
        wanted |= Q(cron=cron_id) if begin is None else Q(cron=cron_id, due_at__gte=begin)
    ticks: defaultdict[UUID, list[CronTick]] = defaultdict(list)
    for tick in CronTick.objects.filter(wanted).defer("reason").order_by("due_at"):
        ticks[tick.cron_id].append(tick)
    runs = _runs([tick for several in ticks.values() for tick in several])
    return {cron.cron_id: _strip(ticks[cron.cron_id], runs, _is_due(cron)) for cron in crons}


def _is_due(cron: Cron) -> bool:
    return cron.enabled and cron.next_run_date is not None


def _runs(ticks: Iterable[CronTick]) -> dict[UUID, Run]:
    """The runs of ticks that are still there, by their id."""
    ids = [tick.run_id for tick in ticks if tick.run_id]
    needed = "run_id", "status", "attempt", "started_at", "finished_at", "error_class", "lease_owner"
    return {run.run_id: run for run in Run.objects.filter(run_id__in=ids).only(*needed)}


_BARS: dict[str, tuple[float, float, float]] = {
    # From the top: where the bar begins, its width and its height.
    "ok": (3, 5, 12),
    "bad": (0, 6, 18),
    "live": (3, 5, 12),
    "skip": (6.5, 4, 5),
    "miss": (12, 5, 3),
    "next": (3.5, 4, 11),
}
_WORDS = {"ok": "fired", "bad": "failed", "live": "going", "skip": "skipped", "miss": "missed"}


def _kind(tick: CronTick, run: Run | None) -> str:
    if tick.outcome == _Outcome.SKIPPED:
        return "skip"
    if tick.outcome == _Outcome.MISSED:
        return "miss"
    if run is None:
        return "ok"
    if run.status in (RunStatus.ERROR, RunStatus.TIMEOUT):
        return "bad"
    return "live" if run.status in (RunStatus.PENDING, RunStatus.RUNNING) else "ok"


def _strip(ticks: list[CronTick], runs: dict[UUID, Run], is_due: bool) -> Strip:
    """The ticks from left to right, the latest at the right end, before the one to come."""
    kinds = [_kind(tick, runs.get(tick.run_id) if tick.run_id else None) for tick in ticks]
    told = [f"{kinds.count(kind)} {word}" for kind, word in _WORDS.items() if kind in kinds]
    text = f"Last {len(kinds)} ticks: {', '.join(told)}" if kinds else "No tick yet"
    places = TICKS_IN_STRIP - len(kinds)
    drawn = [*kinds, "next"] if is_due else kinds
    return Strip([_bar(kind, places + at) for at, kind in enumerate(drawn)], text)


def _bar(kind: str, place: int) -> Bar:
    y, width, height = _BARS[kind]
    return Bar(kind, 8 * place + (8 - width) / 2, y, width, height)


def ticks_page(principal: Principal, cron: Cron, before: datetime | None) -> tuple[list[TickRow], bool]:
    """Due times of a cron that have passed, the latest first; True if there are earlier ones."""
    ticks = cron_ticks(principal, cron.cron_id, before=before, limit=TICKS_PER_PAGE + 1)
    runs = _runs(ticks)
    zone, exact = clock_of(cron), _has_seconds(cron.schedule)
    rows = []
    for tick in ticks[:TICKS_PER_PAGE]:
        run = runs.get(tick.run_id) if tick.run_id else None
        ends = run.finished_at or timezone.now() if run and run.started_at else None
        seconds = (ends - run.started_at).total_seconds() if run and run.started_at and ends else None
        rows.append(
            TickRow(tick, _tick_shown(tick, run), local_time(tick.due_at, zone, exact), _note(tick), run, seconds)
        )
    return rows, len(ticks) > TICKS_PER_PAGE


def _tick_shown(tick: CronTick, run: Run | None) -> Shown:
    if tick.outcome == _Outcome.SKIPPED:
        return Shown("Skipped", "g-skip", "mute", tick.outcome)
    if tick.outcome == _Outcome.MISSED:
        return Shown("Missed", "g-late", "late", tick.outcome)
    if run is not None and run.status != RunStatus.SUCCESS:
        return run_shown(run, waits=False)
    return Shown("Fired", "g-ok", "ok", tick.outcome)


def _note(tick: CronTick) -> str:
    late = tick.fired_at - tick.due_at
    if tick.reason or tick.outcome != _Outcome.FIRED:
        return tick.reason
    return f"{took(late.total_seconds())} late" if late >= _LATE else "on time"


def dues(schedule: Schedule, ends_at: datetime | None, count: int) -> list[Due]:
    """The next times at which a schedule is due."""
    now = timezone.now()
    exact = _has_seconds(schedule.expression)
    found: list[Due] = []
    due = next_due(schedule, ends_at, now)
    while due is not None and len(found) < count:
        there, utc = local_time(due, schedule.zone, exact), local_time(due, UTC, exact)
        found.append(Due(there, utc, (due - now).total_seconds()))
        due = next_due(schedule, ends_at, due)
    return found


# Shown elsewhere on the page, or the cron's own mark.
_OWN = {"schedule", "timezone", "assistant_id", "end_time", "enabled", "metadata", "input", "webhook",
        "misfire_policy", "overlap_policy", "on_run_completed"}  # fmt: skip


def options(cron: Cron) -> dict[str, Any]:
    """What else its runs are made with."""
    shown = {name: value for name, value in cron.payload.items() if name not in _OWN and value not in (None, {}, [])}
    config = dict(shown.pop("config", {}))
    inner = {name: value for name, value in (config.pop("configurable", None) or {}).items() if name != "cron_id"}
    if inner:
        config["configurable"] = inner
    return shown | ({"config": config} if config else {})
