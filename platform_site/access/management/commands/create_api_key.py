"""`manage.py create_api_key NAME`: make an API key and print it once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from platform_site.access.authorization import SCOPES
from platform_site.access.default_workspace import DEFAULT_WORKSPACE, ensure_first_start
from platform_site.access.models import Workspace
from platform_site.access.principal import Role
from platform_site.access.services import api_key_create


class Command(BaseCommand):
    help = "Make an API key and print it. It is shown this once: only its hash is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the key is for, as lists and the audit log show it")
        parser.add_argument("--role", choices=[role.value for role in Role], default=Role.MEMBER.value)
        parser.add_argument("--scope", action="append", choices=SCOPES, default=[], help="may be repeated")
        parser.add_argument("--expires-days", type=float, help="days until the key ends; without it, it does not")
        parser.add_argument("--workspace", default=DEFAULT_WORKSPACE, help="slug of the workspace it belongs to")

    def handle(
        self, name: str, role: str, scope: list[str], expires_days: float | None, workspace: str, **options: Any
    ) -> None:
        if expires_days is not None and not 0 < expires_days <= 36_500:
            raise CommandError("--expires-days must be more than 0 and at most 36500")
        ensure_first_start()
        owner = Workspace.objects.filter(slug=workspace).first()
        if owner is None:
            slugs = ", ".join(Workspace.objects.order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"There is no workspace {workspace!r}. There are: {slugs}")
        _, key = api_key_create(
            None,
            workspace=owner,
            name=name,
            role=Role(role),
            scopes=scope,
            expires_at=None if expires_days is None else timezone.now() + timedelta(days=expires_days),
        )
        self.stdout.write(key)
