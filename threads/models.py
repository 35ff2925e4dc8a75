"""A thread: one conversation. Its state lives in checkpoints; the row holds what lists and searches need."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from platform_site.access.models import Workspace
from platform_site.core.database.access import JSONField
from platform_site.core.ids import uuid7


class ThreadStatus(models.TextChoices):
    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class TTLStrategy(models.TextChoices):
    DELETE = "delete"
    KEEP_LATEST = "keep_latest"


# Columns of any size. Lists of threads, and of what belongs to threads, leave them out.
LARGE_COLUMNS = ("values", "metadata", "config", "run_config", "interrupts", "error", "messages")
LARGE_COLUMNS_OF_THREAD = tuple(f"thread__{column}" for column in LARGE_COLUMNS)


class Thread(models.Model):
    """`values`, `interrupts`, `error` and `status` mirror the head checkpoint as of the last run or update."""

    thread_id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Null: deleted. Nobody sees it while its runs, spans and checkpoints go, a portion at a time.
    workspace = models.ForeignKey(
        Workspace, models.CASCADE, null=True, blank=True, related_name="threads", db_index=False
    )
    title = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=ThreadStatus, default=ThreadStatus.IDLE)
    # What `status` is when no run is in flight; null before any run.
    settled_status = models.CharField(max_length=12, choices=ThreadStatus, null=True, blank=True)
    metadata = JSONField(default=dict, blank=True)
    config = JSONField(default=dict, blank=True)
    # What LangGraph was configured with in the last run, without what only the server sets (`runs.configuration`).
    run_config = JSONField(null=True, blank=True)
    values = JSONField(null=True, blank=True)
    # The keys of `values` that the answers of runs show. Null means that they show all.
    output_keys = JSONField(null=True, blank=True)
    interrupts = JSONField(null=True, blank=True, help_text="Task id to its open interrupts; null before any run.")
    error = JSONField(null=True, blank=True)
    # What was said before any run, in the order of its arrival; the next run takes it into its input.
    messages = JSONField(null=True, blank=True)
    # A stateless run's own thread, deleted when the run ends.
    ephemeral = models.BooleanField(default=False)
    ttl_minutes = models.FloatField(null=True, blank=True)
    ttl_strategy = models.CharField(max_length=12, choices=TTLStrategy, default=TTLStrategy.DELETE)
    # When the sweep looks at the thread, see `time_to_live`.
    expires_at = models.DateTimeField(null=True, blank=True)
    # Who changes the state by hand, and until when nobody else may (`threads.editing`).
    editor = models.CharField(max_length=32, null=True, blank=True)
    edited_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    state_updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "-updated_at"], name="thread_recent"),
            models.Index(fields=["workspace", "status", "-updated_at"], name="thread_status"),
            models.Index(fields=["workspace", "-created_at"], name="thread_created"),
            models.Index(fields=["workspace", "-state_updated_at"], name="thread_state_updated"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="thread_expiry"),
            models.Index(fields=["created_at"], condition=Q(ephemeral=True), name="thread_hidden"),
        ]

    def __str__(self) -> str:
        return self.title or str(self.thread_id)


class ThreadTombstone(models.Model):
    """A deleted thread of which something is still to be removed: rows, or checkpoints, which SQLite keeps apart."""

    thread_id = models.UUIDField(primary_key=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"tombstone of {self.thread_id}"
