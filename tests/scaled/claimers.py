"""Eight workers claim two thousand runs: `DATABASE_URL=... python -m tests.scaled.claimers`, on an empty database.

It prints as JSON what each worker claimed, and how often a thread was held twice.
"""

import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from uuid import uuid4

WORKERS = 8
RUNS = 2000
# Some threads have several runs, of which one may be held at a time.
THREADS = 1600


def prepare() -> None:
    """The tables, and runs that wait."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from platform_site.access.default_workspace import ensure_first_start

    ensure_first_start()
    from platform_site.access.models import Workspace
    from runs.models import Run
    from threads.models import Thread

    workspace = Workspace.objects.get()
    threads = Thread.objects.bulk_create([Thread(workspace=workspace) for _ in range(THREADS)])
    assistant_id = uuid4()
    configurable = {"graph_id": "none", "assistant_id": str(assistant_id)}
    kwargs = {"temporary": False, "config": {"configurable": configurable}}
    Run.objects.bulk_create(
        [
            Run(workspace=workspace, assistant_id=assistant_id, thread=threads[number % THREADS], kwargs=kwargs)
            for number in range(RUNS)
        ]
    )


def work(number: int) -> list[str]:
    """Claim, by the queue's order and by name in turn, until nothing is left; end each claimed run."""
    from django.db import connection

    from runs.engine import queue, workers
    from runs.engine.endings import Ending
    from runs.engine.finish import finish
    from runs.models import Run, RunStatus

    worker, claimed, overlaps = f"worker{number}", [], 0
    workers.register(worker, workers.DatabaseClock())
    while True:
        claims = queue.claim_next(worker, limit=7)
        names = Run.objects.filter(status=RunStatus.PENDING).order_by("?").values_list("run_id", flat=True)[:5]
        claims += queue.claim_named(worker, list(names))
        while claims:
            claim = claims.pop()
            claimed.append(str(claim.run_id))
            overlaps += Run.objects.filter(thread_id=claim.thread_id, lease_owner__isnull=False).count() != 1
            claims += finish(claim, Ending(RunStatus.SUCCESS), worker) or []
        if not Run.objects.filter(status=RunStatus.PENDING).exists():
            break
    connection.close()
    return [str(overlaps), *claimed]


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"
    import django

    django.setup()
    prepare()
    from django.db import connections

    import runs.engine.finish  # noqa: F401 - once, before the processes part

    connections.close_all()
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("fork")) as pool:
        found = list(pool.map(work, range(WORKERS)))
    json.dump({"overlaps": sum(int(one[0]) for one in found), "claimed": [one[1:] for one in found]}, sys.stdout)


if __name__ == "__main__":
    main()
