"""A run's timeline as rows of bars: waiting, attempts, and in them nodes, models and tools."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from platform_site.console.wording import number, took
from runs.models import Run, RunAttempt, RunSpan, RunStatus

_STEPS = (1, 2, 2.5, 5)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: `left` and `width` are percentages of the lane."""

    name: str
    kind: str
    left: float
    width: float
    time: str
    depth: int = 0
    tone: str = ""
    title: str = ""

    @property
    def is_live(self) -> bool:
        return self.kind == "live"


@dataclass(frozen=True, slots=True)
class Part:
    """The heading of an attempt among the rows."""

    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    rows: list[Bar | Part]
    ticks: list[tuple[float, str]]
    now: float | None
    length: str
    left_out: bool


@dataclass(frozen=True, slots=True)
class _Attempt:
    number: int
    worker: str
    begin: datetime
    end: datetime | None
    reason: str


def timeline(run: Run, attempts: Sequence[RunAttempt], spans: Sequence[RunSpan], more: bool, now: datetime) -> Timeline:
    """The rows of this run as of `now`; a live run ends there."""
    begin = max(run.created_at, run.scheduled_at)
    live = run.status in (RunStatus.PENDING, RunStatus.RUNNING)
    end = now if live else run.finished_at or now
    end = max([end, *(span.ended_at for span in spans), begin + timedelta(milliseconds=1)])
    step, scale = _scale((end - begin).total_seconds() * (1.12 if live else 1.0))

    def place(start: datetime, stop: datetime) -> tuple[float, float]:
        left = 100 * (start - begin).total_seconds() / scale
        width = 100 * (stop - start).total_seconds() / scale
        return max(0.0, left), max(0.25, min(width, 100 - left))

    rows: list[Bar | Part] = []
    first = run.started_at or end
    rows.append(Bar("Queue", "wait", *place(begin, first), took((first - begin).total_seconds())))
    tried = list(_attempts(run, attempts))
    before: _Attempt | None = None
    for attempt in tried:
        pause = (attempt.begin - before.end).total_seconds() if before and before.end else 0
        if len(tried) > 1:
            rows.append(Part(_heading(attempt, pause)))
        if before and before.end and pause > 0.05:
            rows.append(Bar("Pause before retry", "wait", *place(before.end, attempt.begin), took(pause)))
        own = [span for span in spans if span.attempt == attempt.number]
        rows.extend(_span_row(span, depth, *place(span.started_at, span.ended_at)) for span, depth in _nested(own))
        if attempt.end is None:
            since = max([attempt.begin, *(span.ended_at for span in own)])
            rows.append(Bar("Working", "live", *place(since, end), took((end - since).total_seconds()), tone="live"))
        before = attempt
    ticks = [(100 * index * step / scale, _tick(index * step)) for index in range(5)]
    at_now = 100 * (end - begin).total_seconds() / scale if live else None
    return Timeline(rows, ticks, at_now, took((end - begin).total_seconds()), more)


def _scale(seconds: float) -> tuple[float, float]:
    """A round step and the length of four of them, not shorter than `seconds`."""
    size = 0.00025
    while True:
        for factor in _STEPS:
            if size * factor * 4 >= seconds:
                return size * factor, size * factor * 4
        size *= 10


def _tick(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds < 0.1:
        return f"{seconds * 1000:g} ms"
    return f"{seconds:g} s" if seconds < 120 else took(seconds)


def _attempts(run: Run, ended: Sequence[RunAttempt]) -> Iterator[_Attempt]:
    for attempt in ended:
        yield _Attempt(attempt.number, attempt.worker, attempt.started_at, attempt.ended_at, attempt.reason)
    begun = run.attempt_started_at or run.started_at
    if run.status == RunStatus.RUNNING and begun:
        yield _Attempt(run.attempt, run.worker or "", begun, None, "")
    elif not ended and run.started_at:
        yield _Attempt(max(1, run.attempt), "", run.started_at, run.finished_at or run.started_at, "")


def _heading(attempt: _Attempt, pause: float) -> str:
    text = f"Attempt {attempt.number}"
    if attempt.worker:
        text += f", {attempt.worker}"
    if pause > 0.05:
        text += f", after a pause of {took(pause)}"
    return text


def _nested(spans: Sequence[RunSpan]) -> Iterator[tuple[RunSpan, int]]:
    """Spans with their depth, each one after its parent."""
    known = {span.span_id for span in spans}
    children: dict[UUID | None, list[RunSpan]] = {}
    for span in spans:
        children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    stack = [(span, 0) for span in reversed(children.get(None, []))]
    seen: set[UUID] = set()
    while stack:
        span, depth = stack.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        yield span, depth
        stack.extend((child, depth + 1) for child in reversed(children.get(span.span_id, [])))


def _span_row(span: RunSpan, depth: int, left: float, width: float) -> Bar:
    seconds = (span.ended_at - span.started_at).total_seconds()
    tokens = span.input_tokens + span.output_tokens
    title = f"{span.kind} {span.name}, {took(seconds)}"
    if tokens:
        title += f", {number(tokens)} tokens"
    if span.namespace:
        title += f", in {span.namespace}"
    if span.error:
        title += f". {span.error}"
    kind = "bad" if span.error else span.kind
    return Bar(span.name, kind, left, width, took(seconds), min(depth, 3), "bad" if span.error else "", title)


def tokens_by_node(spans: Sequence[RunSpan]) -> list[tuple[str, int, float]]:
    """Node, its tokens, and its share of the largest in percent: model spans counted for the node they ran in."""
    by_id = {span.span_id: span for span in spans}
    counts: dict[str, int] = {}
    for span in spans:
        tokens = span.input_tokens + span.output_tokens
        if span.kind != RunSpan.Kind.MODEL or not tokens:
            continue
        at: RunSpan | None = span
        while at is not None and at.kind != RunSpan.Kind.NODE:
            at = by_id.get(at.parent_id) if at.parent_id else None
        name = at.name if at is not None else span.name
        counts[name] = counts.get(name, 0) + tokens
    most = max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return [(name, count, 100 * count / most) for name, count in ordered]
