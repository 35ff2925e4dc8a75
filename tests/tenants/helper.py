"""What a test does beside a started server, on its database: makes workspaces and keys, and lets crons fall due.

python -m tests.tenants.helper make | fire YEARS
"""

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any


def make() -> dict[str, Any]:
    """The victim, and the attacker's workspace with an admin and a member; readers of the victim's workspace."""
    from platform_site.access.models import Workspace
    from platform_site.access.principal import Role
    from platform_site.access.services import api_key_create

    made: dict[str, Any] = {}
    for slug in ("victim", "attacker"):
        workspace, _ = Workspace.objects.get_or_create(slug=slug, defaults={"name": slug})
        keys = {}
        for name, role, scopes in (
            ("admin", Role.ADMIN, []),
            ("member", Role.MEMBER, []),
            ("viewer", Role.VIEWER, []),
            ("reading", Role.ADMIN, ["*:read"]),
            ("running", Role.MEMBER, ["runs:write"]),
        ):
            row, key = api_key_create(None, workspace=workspace, name=name, role=role, scopes=scopes)
            keys[name] = {"key": key, "prefix": row.prefix, "id": row.pk}
        made[slug] = {"id": workspace.pk, "slug": slug, "keys": keys}
    return made


def fire(years: int) -> int:
    """Let the scheduler of this process look at a clock that is so far ahead; how many runs it made."""
    from django.utils import timezone

    from crons.scheduler import Scheduler

    async def due() -> int:
        return await Scheduler().fire_due(timezone.now() + timedelta(days=366 * years))

    return asyncio.run(due())


def main() -> None:
    import django

    django.setup()
    made = make() if sys.argv[1] == "make" else fire(int(sys.argv[2]))
    json.dump(made, sys.stdout)


if __name__ == "__main__":
    main()
