"""Tells a database that cannot work at the moment from a statement that is at fault.

Drivers raise one class, `OperationalError`, for both: for a server that is gone, and for a pattern that is too long.
"""

import sqlite3

from django.db import InterfaceError, OperationalError

from platform_site.core.database.access import LOCKED, lost_a_lock
from platform_site.core.database.unavailable import DatabaseAway, DatabaseBusy

AWAY = "The database does not answer; try again"
BUSY = "The database is busy; try again"
FULL = "The database has no space left"
RETRY_SECONDS = 1

# Names of SQLite's result codes, without what extends them (`SQLITE_IOERR_WRITE`).
_SQLITE = {
    "BUSY": BUSY,
    "LOCKED": BUSY,
    "NOMEM": BUSY,
    "FULL": FULL,
    "IOERR": AWAY,
    "CANTOPEN": AWAY,
    "READONLY": AWAY,
    "PROTOCOL": AWAY,
}
# SQLSTATEs (PostgreSQL manual, appendix A), the first that fits.
_SQLSTATES = (
    ("08", AWAY),
    ("57014", BUSY),  # statement_timeout
    ("57", AWAY),
    ("53100", FULL),
    ("53", BUSY),
    ("40", BUSY),
    ("58", AWAY),
)


def outage(error: BaseException) -> str | None:
    """Return the sentence for the caller, or None if the database works and the statement is at fault."""
    if isinstance(error, DatabaseAway):
        return AWAY
    if isinstance(error, DatabaseBusy):
        return str(error)
    if lost_a_lock(error):
        return LOCKED
    if not isinstance(error, (OperationalError, InterfaceError)):
        return None
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        return _SQLITE.get(name.removeprefix("SQLITE_").partition("_")[0])
    if cause is None:
        # Raised by Django itself: a connection that is closed.
        return AWAY
    return outage_of_state(getattr(cause, "sqlstate", None))


def outage_of_state(sqlstate: str | None) -> str | None:
    """`outage` for an `OperationalError` of psycopg with this SQLSTATE; without one the server never answered."""
    return AWAY if sqlstate is None else next((told for start, told in _SQLSTATES if sqlstate.startswith(start)), None)
