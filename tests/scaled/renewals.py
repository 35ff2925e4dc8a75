"""Beats while other sessions have locked every run: `DATABASE_URL=... python -m tests.scaled.renewals`.

On an empty database. It prints as JSON what the beats made of that.
"""

import json
import os
import sys
from datetime import timedelta
from typing import Any
from unittest.mock import patch


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"
    import django

    django.setup()
    import psycopg
    from django.db import connection
    from django.utils import timezone

    from runs.engine import queue, workers
    from runs.models import Run, Worker
    from tests.scaled.claimers import prepare

    prepare()
    connection.cursor().execute("SET statement_timeout = '10s'")
    found: dict[str, Any] = {}
    clock = workers.DatabaseClock()
    for worker in ("worker", "other"):
        workers.register(worker, clock)
    claims = queue.claim_next("worker", limit=5)
    Run.objects.filter(pk=claims[0].sequence).update(cancel_action="interrupt")
    before = Worker.objects.get(name="worker").alive_until
    with psycopg.connect(os.environ["DATABASE_URL"]) as another:
        another.execute("SELECT 1 FROM runs_run FOR UPDATE")
        found["renewed"] = workers.renew("worker", clock)
        found["leases"] = len(queue.leases_of("worker"))
        found["cancels"] = [lease.cancel_action for lease in queue.leases_of("worker") if lease.cancel_action]
    found["lasts longer"] = Worker.objects.get(name="worker").alive_until > before
    # A machine whose clock is wrong by a day takes nobody for dead.
    ahead = timezone.now() + timedelta(days=1)
    with patch("django.utils.timezone.now", lambda: ahead):
        found["dead by a wrong clock"] = workers.bury("other", clock)
        workers.renew("worker", clock)
    found["alive for a day"] = Worker.objects.get(name="worker").alive_until > ahead
    Worker.objects.filter(name="worker").update(alive_until=timezone.now() - timedelta(seconds=1))
    with psycopg.connect(os.environ["DATABASE_URL"]) as another:
        another.execute("SELECT 1 FROM runs_worker WHERE name = 'worker' FOR UPDATE")
        found["dead while locked"] = workers.bury("other", clock)
    found["dead"] = workers.bury("other", clock)
    found["renewed when dead"] = workers.renew("worker", clock)
    found["lost"] = len(queue.lost_runs())
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
