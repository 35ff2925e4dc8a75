"""A cron: a schedule on which runs are made, and every time at which it was due."""

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from platform_site.access.models import Workspace
from platform_site.core.database.access import JSONField
from platform_site.core.ids import uuid7
from threads.models import Thread


class MisfirePolicy(models.TextChoices):
    """What is done about due times at which nobody was there to fire."""

    RUN_ONCE = "run_once"
    SKIP = "skip"


class OverlapPolicy(models.TextChoices):
    """What is done at a due time while the cron's last run is going."""

    ALLOW = "allow"
    SKIP = "skip"


class OnRunCompleted(models.TextChoices):
    DELETE = "delete"
    KEEP = "keep"


class Cron(models.Model):
    """`next_run_date` is the due time that comes next; null when none is left before `ends_at`."""

    cron_id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="crons", db_index=False)
    # No reference: a system assistant and the workspace's shadow of it share an id. `crons.apps` deletes the crons of
    # an assistant that is deleted.
    assistant_id = models.UUIDField()
    # Without a thread every run has a new one. No constraint: the thread of a stateless run is deleted by a statement
    # of its own, which would have to ask for crons every time.
    thread = models.ForeignKey(Thread, models.CASCADE, null=True, blank=True, related_name="crons", db_constraint=False)
    # Who made the cron: its runs are theirs.
    user_id = models.CharField(max_length=500, blank=True)
    owner = JSONField(default=dict, help_text="The rest of the principal that made the cron.")
    schedule = models.CharField(max_length=500)
    timezone = models.CharField(max_length=100, null=True, blank=True)
    # As it was sent, and as a moment.
    end_time = models.CharField(max_length=64, null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    payload = JSONField(default=dict)
    metadata = JSONField(default=dict, blank=True)
    on_run_completed = models.CharField(max_length=6, choices=OnRunCompleted, null=True, blank=True)
    misfire_policy = models.CharField(max_length=8, choices=MisfirePolicy, default=MisfirePolicy.RUN_ONCE)
    overlap_policy = models.CharField(max_length=8, choices=OverlapPolicy, default=OverlapPolicy.ALLOW)
    enabled = models.BooleanField(default=True)
    next_run_date = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "-created_at"], name="cron_recent"),
            models.Index(fields=["workspace", "assistant_id"], name="cron_of_assistant"),
            models.Index(fields=["next_run_date", "cron_id"], condition=Q(enabled=True), name="cron_due"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule} ({self.cron_id})"


class CronTick(models.Model):
    """One due time and what became of it. Runs that a person asked for have a row, too."""

    class Outcome(models.TextChoices):
        FIRED = "fired"
        SKIPPED = "skipped"
        MISSED = "missed"

    cron = models.ForeignKey(Cron, models.CASCADE, related_name="ticks", db_index=False)
    due_at = models.DateTimeField(db_index=True)
    outcome = models.CharField(max_length=7, choices=Outcome)
    reason = models.TextField(blank=True, help_text="A sentence; empty for a tick that was fired on time.")
    # By id, not by reference: the tick outlives the run.
    run_id = models.UUIDField(null=True, blank=True)
    thread_id = models.UUIDField(null=True, blank=True)
    fired_at = models.DateTimeField(default=now, help_text="When this was decided.")

    class Meta:
        ordering = ["-due_at"]
        constraints = [models.UniqueConstraint(fields=["cron", "due_at"], name="one_tick_per_due_time")]

    def __str__(self) -> str:
        return f"{self.outcome} {self.due_at:%Y-%m-%d %H:%M:%S}"
