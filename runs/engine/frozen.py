"""Sessions of processes that stand still in the middle of a transaction: frozen, cut off, or swapped out.

PostgreSQL keeps their locks for as long as their connection lives. Whoever needs what they have locked would never get
it: a worker that thaws finds its lease taken away anyway.
"""

import logging

from django.conf import settings
from django.db import connection

from platform_site.core.database.access import IS_POSTGRES

logger = logging.getLogger("switchyard.engine")

# A session that waits for its client: between the statements of a transaction, or within a pipeline, which counts as
# active. One that has written or locked a row has a transaction id.
_END = """
SELECT pid, extract(epoch FROM clock_timestamp() - state_change)::float8, pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
    AND application_name = current_setting('application_name')
    AND backend_xid IS NOT NULL AND wait_event_type = 'Client'
    AND state_change < clock_timestamp() - %s * interval '1 second'
"""


def end_frozen_sessions() -> int:
    """End the sessions of this server whose transactions have waited for their process for longer than a lease.

    Returns how many there were. Sessions of other programs are left alone.
    """
    if not IS_POSTGRES:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_END, [settings.LEASE_SECONDS])
        ended = cursor.fetchall()
    for pid, seconds, _ in ended:
        logger.warning("ended the database session %d: its process has not answered for %.0f s", pid, seconds)
    return len(ended)
