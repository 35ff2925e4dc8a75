"""Two callers who change one default assistant at the same moment on PostgreSQL; what came of it, as JSON.

DATABASE_URL=... python -m tests.assistants.racing
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"
    os.environ["DATA_DIR"] = tempfile.mkdtemp()
    import django

    django.setup()
    from platform_site.processes.serving import prepare

    prepare()
    json.dump(races(), sys.stdout)


def races() -> dict[str, Any]:
    """Each pair of calls, in a workspace of its own."""
    from assistants.schemas import AssistantCreate, AssistantPatch
    from assistants.services import assistant_create, assistant_delete, assistant_patch
    from crons.schemas import CronCreateStateless
    from crons.services import cron_create
    from platform_site.access.models import Workspace
    from platform_site.access.principal import Principal
    from platform_site.core.graphs.registry import default_assistant_id

    echo = default_assistant_id("echo")
    outcomes = {}

    def race(name: str, first: Callable[[Principal], Any], second: Callable[[Principal], Any], *before: Any) -> None:
        principal = Principal(Workspace.objects.create(slug=name, name=name).pk)
        for call in before:
            call(principal)
        met = meet(lambda: first(principal), lambda: second(principal))
        outcomes[name] = {"second": met, **left(principal)}

    def change(principal: Principal) -> None:
        assistant_patch(principal, echo, AssistantPatch(name="mine"))

    def delete(principal: Principal) -> None:
        assistant_delete(principal, echo)

    def create(principal: Principal) -> None:
        assistant_create(principal, AssistantCreate(graph_id="chat", assistant_id=echo))

    def schedule(principal: Principal) -> None:
        cron_create(principal, None, CronCreateStateless(assistant_id="echo", schedule="@daily"))

    race("change and change", change, change)
    race("change and delete", change, delete)
    race("delete and change", delete, change)
    race("delete and delete", delete, delete)
    race("create and create", create, create, delete)
    race("schedule and delete", schedule, delete)
    race("delete and schedule", delete, schedule)
    race("schedule and delete what was changed", schedule, delete, change)
    return outcomes


def left(principal: Any) -> dict[str, Any]:
    """What a workspace has at the end."""
    from assistants.models import Assistant, AssistantVersion
    from crons.models import Cron

    rows = Assistant.objects.filter(workspace_id=principal.workspace_id)
    versions = AssistantVersion.objects.filter(assistant__workspace_id=principal.workspace_id)
    return {
        "deleted": list(rows.values_list("is_deleted", flat=True)),
        "versions": list(versions.order_by("version").values_list("version", flat=True)),
        "crons": Cron.objects.filter(workspace_id=principal.workspace_id).count(),
    }


def meet(first: Call, second: Call) -> str:
    """Call `first` in a transaction that ends only when `second` waits for it, or is done; how `second` ended."""
    from django.db import connection, transaction

    outcome = []

    def late() -> None:
        try:
            second()
            outcome.append("done")
        except Exception as error:
            outcome.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    other = threading.Thread(target=late)
    with transaction.atomic():
        first()
        other.start()
        until_waiting(other)
    other.join()
    return outcome[0]


def until_waiting(other: threading.Thread) -> None:
    from django.db import connection

    deadline = time.monotonic() + 60
    with connection.cursor() as cursor:
        while other.is_alive():
            assert time.monotonic() < deadline, "it neither waits nor ends"
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)


if __name__ == "__main__":
    main()
