"""A process that stands still in the middle of a transaction: `DATABASE_URL=... python -m tests.scaled.locked_rows`.

On an empty database. It prints as JSON what came of sweeps and calls that meet what the process has locked.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    os.environ |= {"DJANGO_SETTINGS_MODULE": "platform_site.settings", "LOCK_TIMEOUT_SECONDS": "0.2"}
    import django

    django.setup()
    import psycopg
    from django.conf import settings

    from platform_site.core.checkpoints.configured import checkpoints
    from platform_site.core.checkpoints.postgres.saver import fence_statement
    from platform_site.core.database.access import lost_a_lock
    from platform_site.core.database.postgres_pool import loop_pools
    from runs.engine import frozen, queue, workers
    from runs.engine.lease import Lease
    from runs.models import Run
    from tests.scaled.claimers import prepare
    from threads.models import ThreadTombstone
    from threads.services import delete_threads, finish_deletes

    prepare()
    asyncio.run(checkpoints().setup())
    clock = workers.DatabaseClock()
    for worker in ("died", "sweeper"):
        workers.register(worker, clock)
    one, two, three, four = (claim.sequence for claim in queue.claim_next("died", limit=4))
    workers.retire("died", clock)
    Run.objects.filter(pk__in=(three, four)).update(cancel_action="interrupt")
    found: dict[str, Any] = {}

    def swept() -> list[int]:
        """One sweep, as `Engine.take_back` makes it; which of the runs it got."""
        got = []
        for run in queue.lost_runs():
            if queue.take_over(run, "sweeper") if run.cancel_action else queue.requeue_lost(run):
                got.append([one, two, three, four].index(run.pk) + 1)
        return sorted(got)

    def is_refused(call: Any, *args: Any, **kwargs: Any) -> bool:
        try:
            call(*args, **kwargs)
        except django.db.OperationalError as error:
            return lost_a_lock(error)
        return False

    stands_still = psycopg.connect(loop_pools().conninfo, autocommit=True)
    operator = psycopg.connect(loop_pools().conninfo, application_name="psql")
    ThreadTombstone.objects.bulk_create(ThreadTombstone(thread_id=run.thread_id) for run in Run.objects.all()[:2])
    kept = ThreadTombstone.objects.earliest("pk").pk
    run = Run.objects.get(pk=one)
    # What thaws finds its session ended.
    with contextlib.suppress(psycopg.OperationalError), stands_still.pipeline() as pipeline:
        # A checkpoint write whose end is never sent, and an ending.
        for held in (run, Run.objects.get(pk=three)):
            stands_still.execute(*fence_statement(Lease(queue.claim_of(held, str(held.lease_owner)))))
        stands_still.execute("SELECT 1 FROM threads_threadtombstone WHERE thread_id = %s FOR UPDATE", (kept,))
        pipeline._conn.pgconn.send_flush_request()
        pipeline._conn.pgconn.flush()
        while not _is_locked(operator, one):
            time.sleep(0.01)
        operator.execute("SELECT 1 FROM runs_run WHERE sequence = %s FOR UPDATE", (two,))
        found["swept"] = swept()
        operator.rollback()
        found["swept once more"] = swept()
        found["renewed"] = workers.renew("sweeper", clock)
        found["leases read"] = sorted(
            [one, two, three, four].index(_pk(lease.run_id)) + 1 for lease in queue.leases_of("died")
        )
        finish_deletes()
        found["tombstones"] = ThreadTombstone.objects.count()
        found["delete is refused"] = is_refused(delete_threads, [run.thread_id], workspace_id=run.workspace_id)
        operator.execute("SELECT 1 FROM runs_run WHERE sequence = %s FOR UPDATE", (two,))
        settings.LEASE_SECONDS = 3600
        found["ended too early"] = frozen.end_frozen_sessions()
        settings.LEASE_SECONDS = 0
        found["ended"] = frozen.end_frozen_sessions()
        operator.execute("SELECT 1")
        operator.rollback()
        while frozen.end_frozen_sessions():
            time.sleep(0.01)
        settings.LEASE_SECONDS = 3600
        found["swept at last"] = swept()
        found["deleted"] = delete_threads([run.thread_id], workspace_id=run.workspace_id)
    json.dump(found, sys.stdout)


def _pk(run_id: Any) -> int:
    from runs.models import Run

    return Run.objects.get(run_id=run_id).pk


def _is_locked(operator: Any, pk: int) -> bool:
    row = operator.execute("SELECT 1 FROM runs_run WHERE sequence = %s FOR UPDATE SKIP LOCKED", (pk,)).fetchone()
    operator.rollback()
    return row is None


if __name__ == "__main__":
    main()
