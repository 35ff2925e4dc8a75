"""Makes the tables and an admin's API key for each of these workspaces; the keys, as JSON.

DATA_DIR=... python -m tests.assistants.keys evil victim
"""

import json
import os
import sys


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from platform_site.access.models import Workspace
    from platform_site.access.principal import Role
    from platform_site.access.services import api_key_create

    workspaces = {slug: Workspace.objects.create(slug=slug, name=slug) for slug in sys.argv[1:]}
    keys = {
        slug: api_key_create(None, workspace=workspace, name=slug, role=Role.ADMIN)[1]
        for slug, workspace in workspaces.items()
    }
    json.dump(keys, sys.stdout)


if __name__ == "__main__":
    main()
