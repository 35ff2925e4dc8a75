"""A heartbeat while another process has locked one of its runs: `DATABASE_URL=... python -m tests.scaled.renewals`.

It prints as JSON how many leases it renewed, then and afterwards.
"""

import json
import os
import sys


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"
    import django

    django.setup()
    import psycopg
    from django.db import connection

    from runs.engine import queue
    from tests.scaled.claimers import prepare

    prepare()
    connection.cursor().execute("SET statement_timeout = '10s'")
    owners = [claim.lease_owner for claim in queue.claim_next("worker", limit=5)]
    with psycopg.connect(os.environ["DATABASE_URL"]) as another:
        another.execute("SELECT 1 FROM runs_run WHERE lease_owner = %s FOR SHARE", (owners[2],))
        meanwhile = len(queue.renew(owners))
    json.dump([meanwhile, len(queue.renew(owners))], sys.stdout)


if __name__ == "__main__":
    main()
