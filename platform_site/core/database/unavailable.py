"""A database that is out of reach for now."""


class DatabaseUnavailable(Exception):
    """Checkpoints or items are out of reach for now: a matter of time, not of the run."""


class DatabaseAway(DatabaseUnavailable):
    """The database is not there."""


class DatabaseBusy(DatabaseUnavailable):
    """The database is there, but another process holds a lock for too long, or every connection is in use."""
