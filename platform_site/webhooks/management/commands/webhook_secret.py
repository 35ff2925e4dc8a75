"""`manage.py webhook_secret show|roll`: the secrets by which a workspace's webhooks are signed."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from platform_site.access.default_workspace import DEFAULT_WORKSPACE, ensure_first_start
from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.core.errors import ApiError
from platform_site.webhooks.selectors import secrets_in_force
from platform_site.webhooks.services import secret_roll


class Command(BaseCommand):
    help = "Show the secrets that sign webhooks, the newest first, or make a new one; the old one signs for a day more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["show", "roll"])
        parser.add_argument("--workspace", default=DEFAULT_WORKSPACE, help="slug of the workspace")

    def handle(self, action: str, workspace: str, **options: Any) -> None:
        ensure_first_start()
        owner = Workspace.objects.filter(slug=workspace).first()
        if owner is None:
            slugs = ", ".join(Workspace.objects.order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"There is no workspace {workspace!r}. There are: {slugs}")
        if action == "roll":
            try:
                self.stdout.write(secret_roll(None, owner))
            except ApiError as error:
                raise CommandError(error.detail) from None
            return
        self.stdout.write("\n".join(secrets_in_force(Principal(workspace_id=owner.pk))))
