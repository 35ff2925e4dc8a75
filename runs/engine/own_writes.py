"""A run's own writes to the database, which neither a lock nor a database that is away for a while may fail."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from django.db import DatabaseError

from platform_site.core.database.access import IS_POSTGRES, LOCKED_PAUSE_SECONDS, in_db, lost_a_lock
from platform_site.core.database.outages import AWAY, outage
from platform_site.core.database.unavailable import DatabaseAway

logger = logging.getLogger("switchyard.runs")

P = ParamSpec("P")
T = TypeVar("T")

# Pauses before the end of an attempt is written again while the database is away.
RETRY_SECONDS = (0.2, 0.5, 1, 2, 4, 8, 15)


async def in_db_for_run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`in_db` for what decides over an attempt, tried again for as long as another session holds a lock against it.

    Raises `DatabaseAway`, which is not the run's fault, where the database is away.
    """
    try:
        return await _patiently(lambda: function(*args, **kwargs), iter(()))
    except DatabaseError as error:
        if IS_POSTGRES and outage(error) == AWAY:
            raise DatabaseAway(str(error)) from error
        raise


async def in_db_when_back(write: Callable[[], T]) -> T:
    """`in_db` for how an attempt ended, tried again while the database is away, and for as long as a lock is held."""
    return await _patiently(write, iter(RETRY_SECONDS))


async def _patiently(write: Callable[[], T], pauses: Iterator[float]) -> T:
    """Try again after each of the pauses, and after a lock without end."""
    while True:
        try:
            return await in_db(write)
        except DatabaseError as error:
            is_locked = lost_a_lock(error)
            pause = LOCKED_PAUSE_SECONDS if is_locked else next(pauses, None)
            if pause is None:
                raise
            logger.warning("a write of the run is tried again in %g s: %s", pause, error, exc_info=not is_locked)
        await asyncio.sleep(pause)
