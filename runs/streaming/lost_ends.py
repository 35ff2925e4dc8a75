"""Streams whose run has ended without its log saying so: a worker died in between, or Redis forgot. Scale mode only."""

from platform_site.core.database.access import read_db
from platform_site.core.events.redis import RedisEventLog
from runs.selectors import outcomes_of_ended

# How often they are looked for, in seconds. The end of a log may come this much later than the end of its run.
INTERVAL = 5.0


class LostEnds:
    """Ends this process's readers of runs that had ended by the round before the last and have got nothing since."""

    def __init__(self, log: RedisEventLog) -> None:
        self._log = log
        # Of runs that had ended: how far their readers were.
        self._ended_before: dict[str, set[str | None]] = {}

    async def round(self) -> None:
        awaited = self._log.awaited_runs()
        ended = await read_db(outcomes_of_ended, sorted(awaited)) if awaited else {}
        for run_id in ended:
            if self._ended_before.get(run_id) == awaited[run_id]:
                self._log.end_here(run_id, ended[run_id])
        self._ended_before = {run_id: awaited[run_id] for run_id in ended}
