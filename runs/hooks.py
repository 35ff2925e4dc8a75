"""Typed hooks by which runs tell and ask the layers above them.

`platform_site/core/hooks.py` has the class and the hooks of the layers below; the hooks here carry rows of runs. The
layers above connect their receivers in `AppConfig.ready`. A receiver refuses by raising an `ApiError`.
"""

from dataclasses import dataclass
from datetime import datetime

from platform_site.core.hooks import AsyncHook, Hook
from runs.models import Run, RunStatus

NO_VALUES = b"null"


@dataclass(frozen=True)
class RunEnd:
    """How a run ended. `values` is JSON; None stands for the values that the thread has."""

    status: RunStatus
    error: dict[str, str] | None = None
    values: bytes | None = NO_VALUES


# Sent in the transaction that ends a run with a webhook: the row as it was before, the end, the time of the end. A run
# without a webhook sends nothing, because its row would have to be read first. A run that is being deleted has none.
run_ended: Hook[[Run, RunEnd, datetime]] = Hook()
# Sent in the transaction that deletes a run, before the run changes: delete what is kept of its end.
run_deleting: Hook[[Run]] = Hook()
# Sent in a database thread before a run or a cron with this webhook is stored: refuse a URL that may not be called, as
# far as its text tells.
webhook_checking: Hook[[str]] = Hook()
# Awaited on an event loop, before the call into the database: refuse also by where the URL's host leads. Looking its
# name up takes time, which a database thread does not have.
webhook_admitting: AsyncHook[[str]] = AsyncHook()
