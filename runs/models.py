"""Runs and what is kept of them: attempts, spans, open interrupts, statistics.

The constraints here carry the engine's invariants; `runs.engine.queue` has all the SQL that moves a run.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from platform_site.access.models import Workspace
from platform_site.core.database.access import JSONField
from platform_site.core.ids import uuid7
from threads.models import Thread


class RunStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


IN_FLIGHT = (RunStatus.PENDING, RunStatus.RUNNING)
FINISHED = (RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.TIMEOUT, RunStatus.INTERRUPTED)


class MultitaskStrategy(models.TextChoices):
    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class CancelAction(models.TextChoices):
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class Worker(models.Model):
    """A process that executes runs. The leases that name a worker are alive while its row is.

    All times are those of one clock, the database's (`runs.engine.workers`).
    """

    name = models.CharField(max_length=40, primary_key=True)
    started_at = models.DateTimeField()
    # Moved on by each heartbeat.
    alive_until = models.DateTimeField()
    # Set by a heartbeat that came late: until then the worker declares no other worker dead.
    patient_until = models.DateTimeField(null=True, blank=True)
    # A dead worker stays dead.
    died_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Run(models.Model):
    """One execution of an assistant on a thread. Runs of a thread are taken in order of `sequence`."""

    sequence = models.BigAutoField(primary_key=True)
    run_id = models.UUIDField(unique=True, default=uuid7, editable=False)
    # Their indexes are below, each with the order that its lists have.
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="runs", db_index=False)
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="runs", db_index=False)
    # No reference: a system assistant and the workspace's shadow of it share an id, and a run outlives its assistant.
    assistant_id = models.UUIDField()
    status = models.CharField(max_length=12, choices=RunStatus, default=RunStatus.PENDING)
    kwargs = JSONField(default=dict)
    metadata = JSONField(default=dict)
    multitask_strategy = models.CharField(max_length=10, choices=MultitaskStrategy, default=MultitaskStrategy.ENQUEUE)
    scheduled_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # The attempt that owns the run: unique to it, so that a late write of another attempt is refused.
    lease_owner = models.CharField(max_length=80, null=True, blank=True)
    # The worker that the lease names. No reference: a lease whose worker has no row is lost.
    worker = models.CharField(max_length=40, null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    attempt_started_at = models.DateTimeField(null=True, blank=True)
    # With `rollback` the run is hidden, and goes when nothing holds it any more.
    cancel_action = models.CharField(max_length=10, choices=CancelAction, null=True, blank=True)
    # Head checkpoint and special writes of the thread before this run first touched it.
    baseline = JSONField(null=True, blank=True)
    error_class = models.CharField(max_length=200, blank=True)
    # What clients see, which may be masked, and the full text.
    error_message = models.TextField(blank=True)
    error_text = models.TextField(blank=True)
    error_traceback = models.TextField(blank=True)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    # The nodes that were next when a breakpoint stopped the run. Null if no breakpoint did.
    stopped_before = JSONField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["thread"], condition=Q(lease_owner__isnull=False), name="one_leased_run_per_thread"
            ),
            # Without a condition: only then PostgreSQL counts the columns as a key, and key locks of checkpoint writes
            # keep the lease as it is while a cancel may change the row. Heartbeats find the leases of a worker by it.
            models.UniqueConstraint(fields=["worker", "lease_owner"], name="one_run_per_lease"),
        ]
        indexes = [
            models.Index(fields=["thread", "-sequence"], name="run_of_thread"),
            models.Index(fields=["workspace", "-sequence"], name="run_recent"),
            models.Index(fields=["workspace", "status", "-sequence"], name="run_status"),
            models.Index(fields=["workspace", "assistant_id", "-sequence"], name="run_of_assistant"),
            models.Index(fields=["scheduled_at"], condition=Q(status=RunStatus.PENDING), name="run_due"),
            models.Index(fields=["sequence"], condition=Q(cancel_action=CancelAction.ROLLBACK), name="run_hidden"),
        ]

    def __str__(self) -> str:
        return str(self.run_id)


class RunAttempt(models.Model):
    """One attempt that has ended, and why."""

    class Reason(models.TextChoices):
        FINISHED = "finished"
        FAILED = "failed"
        CANCELLED = "cancelled"
        TIMED_OUT = "timed_out"
        DRAINED = "drained"
        LOST = "lost"

    run = models.ForeignKey(Run, models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    worker = models.CharField(max_length=80)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    reason = models.CharField(max_length=10, choices=Reason)

    class Meta:
        ordering = ["number", "pk"]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.run_id}: {self.reason}"


class RunSpan(models.Model):
    """Time spent in a node, model or tool, kept for `SPAN_RETENTION_DAYS`."""

    class Kind(models.TextChoices):
        NODE = "node"
        MODEL = "model"
        TOOL = "tool"

    run = models.ForeignKey(Run, models.CASCADE, related_name="spans")
    span_id = models.UUIDField()
    parent_id = models.UUIDField(null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    kind = models.CharField(max_length=5, choices=Kind)
    name = models.CharField(max_length=200)
    namespace = models.CharField(max_length=500, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["started_at", "pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class PendingInterrupt(models.Model):
    """A question of a graph that waits, or waited, for a person."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="pending_interrupts")
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="pending_interrupts")
    run_id = models.UUIDField(null=True, blank=True)
    assistant_id = models.UUIDField()
    interrupt_id = models.CharField(max_length=64)
    task_id = models.CharField(max_length=64)
    node = models.CharField(max_length=200, blank=True)
    value = JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    assignee = models.ForeignKey(
        "auth.User", models.SET_NULL, null=True, blank=True, related_name="assigned_interrupts"
    )
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["thread", "interrupt_id", "task_id"],
                condition=Q(answered_at__isnull=True),
                name="one_open_row_per_interrupt",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "created_at"], condition=Q(answered_at__isnull=True), name="interrupt_open"
            ),
        ]

    def __str__(self) -> str:
        return f"interrupt {self.interrupt_id[:8]} of {self.thread_id}"


class RunStatistic(models.Model):
    """Runs that ended in one minute, counted by outcome and by how long they waited and ran.

    `wait_bucket` and `run_bucket` are `round(4 * log2(milliseconds + 1))`: percentiles to within a fifth.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    assistant_id = models.UUIDField()
    minute = models.DateTimeField()
    status = models.CharField(max_length=12, choices=RunStatus)
    error_class = models.CharField(max_length=200, blank=True)
    wait_bucket = models.PositiveSmallIntegerField()
    run_bucket = models.PositiveSmallIntegerField()
    runs = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "minute", "assistant_id", "status", "error_class", "wait_bucket", "run_bucket"],
                name="one_row_per_cell",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.runs} {self.status} at {self.minute:%H:%M}"
