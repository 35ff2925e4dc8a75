"""Three schedulers in one process on one PostgreSQL, each on a thread of its own; what they made, as JSON.

DATABASE_URL=... python -m tests.crons.racing
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

DUE_TIMES = 1000
SCHEDULERS = 3
BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"
    os.environ["DATA_DIR"] = tempfile.mkdtemp()
    import django

    django.setup()
    json.dump(race(), sys.stdout)


def race() -> dict[str, Any]:
    """A cron that is due a thousand times on a thread, one that is due hourly without one, and a delete among it."""
    from django.db.models import Count

    from assistants.services import ensure_default_assistants
    from crons.models import Cron, CronTick
    from platform_site.access.default_workspace import ensure_first_start
    from platform_site.access.principal import Principal
    from platform_site.core.graphs.registry import registry
    from platform_site.processes.serving import prepare
    from runs.models import Run
    from tests.crons.conftest import create, new_thread
    from threads.services import delete_threads

    prepare()
    ensure_default_assistants(registry().ids)
    principal = Principal(workspace_id=ensure_first_start().pk)
    thread, doomed = new_thread(principal), [new_thread(principal) for _ in range(5)]
    due = BEGIN.isoformat()
    busy = create(principal, "* * * * * */10", thread=thread, assistant_id="counter", due=due)
    hourly = create(principal, "*/30 * * * *", assistant_id="counter", due=due)
    for other in doomed:
        create(principal, "* * * * *", thread=other, assistant_id="counter", due=due)
    together, failures = threading.Barrier(SCHEDULERS), list[str]()
    racers = [threading.Thread(target=scheduled, args=(seed, together, failures)) for seed in range(SCHEDULERS)]
    for racer in racers:
        racer.start()
    for other in doomed:
        delete_threads([other], workspace_id=principal.workspace_id)
    for racer in racers:
        racer.join()
    ticks = CronTick.objects.filter(cron=busy)
    return {
        "failures": failures,
        "due_times": ticks.filter(outcome="fired").values("due_at").distinct().count(),
        "ticks": ticks.count(),
        "runs": Run.objects.filter(thread_id=thread).count(),
        "hourly": list(CronTick.objects.filter(cron=hourly).values_list("outcome").annotate(n=Count("pk"))),
        "left_of_deleted": Cron.objects.filter(thread_id__in=doomed).count(),
    }


def scheduled(seed: int, together: threading.Barrier, failures: list[str]) -> None:
    """One scheduler: all of them come to every due time, each with a delay of its own."""
    from crons.scheduler import Scheduler

    async def work() -> None:
        scheduler, dice = Scheduler(), random.Random(seed)
        for index in range(DUE_TIMES):
            together.wait(60)
            try:
                await scheduler.fire_due(BEGIN + timedelta(seconds=10 * index, milliseconds=dice.randint(0, 900)))
            except Exception as error:
                failures.append(repr(error))

    asyncio.run(work())


if __name__ == "__main__":
    main()
