"""The code that may reach rows without naming their tenant, each with the reason."""

_TOMBSTONES = "a tombstone belongs to no workspace: it keeps an id from being used again"
_LOCKED_FIRST = "locks a thread before its run is looked for in the workspace, so that all lock in one order"

_BY_RUN = "a method of LangGraph's interface that takes no thread; the server has one of its own that does"

# Statements on Django's connections while a request is answered: `file:function`, anywhere on the way to it.
UNBOUND: dict[str, str] = {
    "threads/services.py:finish_deletes": _TOMBSTONES,
    "threads/services.py:make_room_for": _TOMBSTONES,
    "runs/cancel.py:_newest": "how far the numbers of runs go by now, which is no row of anybody",
    "runs/services.py:_thread": "reads the workspace of the row that it locks, and refuses all but the caller's",
    "runs/cancel.py:_lock_threads": _LOCKED_FIRST,
    "crons/services.py:lock_targets": _LOCKED_FIRST,
    "threads/expiry.py:_due": "the sweep, which works for all; tests let it come in the middle of a request",
    "platform_site/console/shell.py:places": "a person's own memberships, in whatever workspace",
}

# Through these tests ask the tables themselves.
OF_TESTS = frozenset({"platform_site/core/items/store.py:rows", "platform_site/core/items/stores.py:_call"})

_SQLITE, _POSTGRES = "platform_site/core/checkpoints/sqlite", "platform_site/core/checkpoints/postgres"

# Statements of savers and stores that name no thread and no namespace.
UNBOUND_RAW: dict[str, str] = {
    f"{_SQLITE}/rows.py:read_page": "by the number of rows that were found by their thread",
    f"{_SQLITE}/rows.py:_take_back_writes": "by the number of rows that were found by their run",
    f"{_POSTGRES}/maintenance.py:_take_back_writes": "by the number of a row that was found by its run",
    f"{_POSTGRES}/saver.py:adelete_for_runs": _BY_RUN,
    f"{_SQLITE}/rows.py:delete_runs": _BY_RUN,
    f"{_SQLITE}/rows.py:read_first_page": "lists all where no thread is asked for, as the interface"
    " wants it; only tests do, and the spy on threads looks at what is found",
    "platform_site/core/items/store.py:sweep": "deletes the items of all whose time is over",
}
