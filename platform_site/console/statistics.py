"""The figures of the overview, worked out from the per-minute statistics: runs themselves are never scanned."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Case, IntegerField, Sum, Value, When
from django.db.models.functions import TruncHour, TruncMinute
from django.utils import timezone

from platform_site.access.principal import Principal
from runs.models import RunStatistic, RunStatus

# Range in the address, its length, and how many points its charts have.
RANGES = {
    "1h": (timedelta(hours=1), 60),
    "6h": (timedelta(hours=6), 72),
    "24h": (timedelta(hours=24), 48),
    "7d": (timedelta(days=7), 84),
}
BAD = (RunStatus.ERROR, RunStatus.TIMEOUT)


def bucket_seconds(bucket: int) -> float:
    """The time that a bucket of RunStatistic stands for."""
    return (2 ** (bucket / 4) - 1) / 1000


def percentile(counts: Counter[int], share: float) -> float | None:
    """Seconds that this share of the counted runs stayed below; None without runs."""
    total = sum(counts.values())
    if not total:
        return None
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= share * total:
            return bucket_seconds(bucket)
    return None


@dataclass(slots=True)
class Cell:
    """Runs counted together: of one moment, of one assistant, of everything."""

    runs: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    waits: Counter[int] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def wait(self, share: float) -> float | None:
        return percentile(self.waits, share)

    def time(self, share: float) -> float | None:
        return percentile(self.times, share)


@dataclass(slots=True)
class Figures:
    """What happened in a range: in total, by moment (`points`), by assistant, by class of error."""

    begin: datetime
    now: datetime
    step: timedelta
    total: Cell
    points: list[Cell]
    by_assistant: dict[UUID, Cell]
    assistant_points: dict[UUID, list[Cell]]
    error_classes: Counter[str]

    @property
    def per_minute(self) -> float:
        return self.total.runs / max(1.0, (self.now - self.begin).total_seconds() / 60)

    @property
    def rates(self) -> list[float]:
        """Runs per minute at each point; the last one has had less time than the others."""
        minutes = self.step.total_seconds() / 60
        last = (self.now - self.begin).total_seconds() / 60 - minutes * (len(self.points) - 1)
        lengths = [*([minutes] * (len(self.points) - 1)), max(1.0, last)]
        return [point.runs / length for point, length in zip(self.points, lengths, strict=True)]


def figures(principal: Principal, name: str, assistant_id: UUID | None = None) -> Figures:
    """The workspace's figures of one of RANGES up to now, of one assistant if asked."""
    length, count = RANGES[name]
    step = length / count
    now = timezone.now()
    # Points begin at round times, so the last one is not over yet.
    end = now - (now - datetime.min.replace(tzinfo=UTC)) % step + step
    begin = end - length
    found = Figures(begin, now, step, Cell(), [Cell() for _ in range(count)], {}, {}, Counter())
    cells: defaultdict[UUID, Cell] = defaultdict(Cell)
    assistant_points: defaultdict[UUID, list[Cell]] = defaultdict(lambda: [Cell() for _ in range(count)])
    for row in _rows(principal, begin, length, assistant_id):
        at = min(count - 1, max(0, (row["bin"] + timedelta(minutes=row["half"]) - begin) // step))
        assistant = row["assistant_id"]
        for cell in (found.total, found.points[at], cells[assistant], assistant_points[assistant][at]):
            cell.runs += row["count"]
            cell.errors += row["count"] if row["status"] in BAD else 0
            cell.input_tokens += row["tokens_in"]
            cell.output_tokens += row["tokens_out"]
            cell.waits[row["wait_bucket"]] += row["count"]
            cell.times[row["run_bucket"]] += row["count"]
        if row["status"] in BAD:
            found.error_classes[row["error_class"] or ("Timed out" if row["status"] == RunStatus.TIMEOUT else "")] += (
                row["count"]
            )
    found.by_assistant, found.assistant_points = dict(cells), dict(assistant_points)
    return found


def _rows(principal: Principal, begin: datetime, length: timedelta, assistant_id: UUID | None):  # type: ignore[no-untyped-def]
    rows = RunStatistic.objects.filter(workspace_id=principal.workspace_id, minute__gte=begin)
    if assistant_id:
        rows = rows.filter(assistant_id=assistant_id)
    if length <= timedelta(hours=6):
        rows = rows.annotate(bin=TruncMinute("minute"), half=Value(0))
    else:
        # Half hours: fine enough for a day, and few enough groups for a week.
        half = Case(When(minute__minute__gte=30, then=Value(30)), default=Value(0), output_field=IntegerField())
        rows = rows.annotate(bin=TruncHour("minute"), half=half)
    return (
        rows.values("bin", "half", "assistant_id", "status", "error_class", "wait_bucket", "run_bucket")
        .annotate(count=Sum("runs"), tokens_in=Sum("input_tokens"), tokens_out=Sum("output_tokens"))
        .order_by()
    )
