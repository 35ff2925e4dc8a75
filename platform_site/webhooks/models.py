"""The tables of webhooks: deliveries, the log of their attempts, endpoints, signing secrets."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from platform_site.access.models import Workspace
from platform_site.core.database.access import JSONField
from platform_site.core.ids import uuid7


class DeliveryStatus(models.TextChoices):
    # Due, or waiting for its next attempt.
    PENDING = "pending"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    # Given up: the receiver does not want it, or every attempt failed.
    FAILED = "failed"
    # Kept until its endpoint is enabled again.
    HELD = "held"


class WebhookDelivery(models.Model):
    """A webhook that is sent or owed: written in the transaction that ends its run, kept WEBHOOK_RETENTION_DAYS."""

    delivery_id = models.UUIDField(unique=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="webhook_deliveries", db_index=False)
    # No foreign keys: run and thread may be deleted before the delivery is sent.
    run_id = models.UUIDField()
    thread_id = models.UUIDField()
    url = models.TextField()
    # The three columns that identify an endpoint: `address` is the URL without its query, `endpoint_digest` is made of
    # workspace and address. An endpoint can be disabled; requests to one `host` take turns.
    address = models.TextField(blank=True)
    host = models.CharField(max_length=255)
    endpoint_digest = models.CharField(max_length=64)
    event = models.CharField(max_length=20)
    body = models.TextField()
    status = models.CharField(max_length=10, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    created_at = models.DateTimeField(default=timezone.now)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    # `attempts` counts all of them; the failures are those since a person last sent the delivery again.
    attempts = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=40, null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    # Why the last attempt failed, or why it is held back.
    error = models.TextField(blank=True)
    # The run or thread was deleted: the row is deleted together with its last attempt.
    is_forgotten = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        indexes = [
            models.Index(
                fields=["next_attempt_at", "host"], condition=Q(status=DeliveryStatus.PENDING), name="delivery_due"
            ),
            models.Index(
                fields=["lease_expires_at"], condition=Q(status=DeliveryStatus.DELIVERING), name="delivery_leased"
            ),
            # For counts of what is owed: most rows by far are delivered ones.
            models.Index(fields=["created_at"], condition=Q(status=DeliveryStatus.PENDING), name="delivery_owed"),
            models.Index(
                fields=["workspace", "endpoint_digest"], condition=Q(status=DeliveryStatus.HELD), name="delivery_held"
            ),
            models.Index(fields=["workspace", "endpoint_digest", "-id"], name="delivery_of_endpoint"),
            models.Index(fields=["workspace", "status", "-id"], name="delivery_status"),
            models.Index(fields=["thread_id"], name="delivery_of_thread"),
            models.Index(fields=["run_id"], name="delivery_of_run"),
            models.Index(fields=["created_at"], name="delivery_age"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.host}"


class WebhookAttempt(models.Model):
    """One request of a delivery and the answer. Values of headers from `langgraph.json` are not kept."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="log")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    milliseconds = models.PositiveIntegerField(default=0)
    request_headers = JSONField(default=dict)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_headers = JSONField(default=list)
    response_body = models.TextField(blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.response_status or self.error}"


class WebhookEndpoint(models.Model):
    """The record of deliveries to one address (a workspace's URL without its query), and whether it is disabled."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="webhook_endpoints")
    digest = models.CharField(max_length=64)
    address = models.TextField()
    # Deliveries that were given up since the last one arrived.
    failures = models.PositiveIntegerField(default=0)
    last_delivered_at = models.DateTimeField(null=True, blank=True)
    last_failed_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "digest"], name="one_row_per_endpoint")]

    def __str__(self) -> str:
        return self.address


class WebhookSecret(models.Model):
    """The salt of a workspace's signing secret, which is derived from SECRET_KEY and the salt.

    A workspace without a row signs with the secret of the empty salt.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="webhook_secrets")
    salt = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    # Set when the secret is rolled: until then it signs beside the new one.
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(expires_at=None), name="one_current_webhook_secret"
            ),
        ]

    def __str__(self) -> str:
        return f"webhook secret of {self.workspace}"
