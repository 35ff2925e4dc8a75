"""An assistant: a graph with a configuration, and every version that configuration has had."""

from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone

from platform_site.access.models import Workspace
from platform_site.core.database.access import JSONField

# The longest name of an assistant, in characters.
NAME_LENGTH = 500


class Configuration(models.Model):
    """What an assistant and each of its versions hold alike."""

    graph_id = models.CharField(max_length=200)
    name = models.CharField(max_length=NAME_LENGTH, default="Untitled")
    description = models.TextField(null=True, blank=True)
    config = JSONField(default=dict, blank=True)
    context = JSONField(default=dict, blank=True)
    metadata = JSONField(default=dict, blank=True)

    class Meta:
        abstract = True


class Assistant(Configuration):
    """The version in use.

    A row without a workspace is a system assistant: the default one of a graph, which every workspace sees and only the
    server's start writes. A row of a workspace with the same `assistant_id` is a shadow: in that workspace it takes the
    system assistant's place. Other tables hold an `assistant_id` and no reference to a row, so that what a workspace
    has made with a system assistant belongs to the shadow, too.
    """

    assistant_id = models.UUIDField(default=uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, null=True, blank=True, related_name="assistants")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # A shadow that hides the system assistant from its workspace until the server starts again.
    is_deleted = models.BooleanField(default=False, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["assistant_id", "workspace"], name="one_assistant_per_workspace"),
            # Null differs from null in the constraint above.
            models.UniqueConstraint(
                fields=["assistant_id"], condition=Q(workspace__isnull=True), name="one_system_assistant"
            ),
            models.CheckConstraint(
                condition=Q(is_deleted=False) | Q(workspace__isnull=False), name="system_assistants_stay"
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at"], name="assistant_recent"),
            models.Index(fields=["graph_id"], name="assistant_graph"),
        ]

    def __str__(self) -> str:
        return self.name


class AssistantVersion(Configuration):
    """One version, never changed after it was made."""

    assistant = models.ForeignKey(Assistant, models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["assistant", "version"], name="one_row_per_version")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"
