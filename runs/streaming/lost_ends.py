"""Streams whose run has ended without its log saying so: a worker died in between, or Redis forgot. Scale mode only."""

from platform_site.core.database import read_db
from platform_site.core.redis_events import RedisEventLog
from runs.selectors import outcomes_of_ended

# How often they are looked for, in seconds. The end of a log may come this much later than the end of its run.
INTERVAL = 5.0


class LostEnds:
    """Ends this process's readers of runs that had ended by the round before the last and are still silent."""

    def __init__(self, log: RedisEventLog) -> None:
        self._log = log
        self._ended_before: set[str] = set()

    async def round(self) -> None:
        awaited = self._log.awaited_runs()
        ended = await read_db(outcomes_of_ended, sorted(awaited)) if awaited else {}
        for run_id in self._ended_before & ended.keys():
            self._log.end_here(run_id, ended[run_id])
        self._ended_before = set(ended)
