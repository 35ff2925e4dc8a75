"""The spy on SQL: while somebody's request is answered, a tenant's row is found by the workspace of that caller.

The criterion, for every SELECT, UPDATE and DELETE on a table whose rows belong to workspaces:

1. its conditions name the workspace, and it is the caller's; or
2. its conditions name keys (`id`, `..._id`, `sequence`), and each of them is *known*: it was in a row that a statement
   of the same request has found before by 1 or 2, it is the key of a row that the request made, or it was a key of a
   condition of such a statement that has found something; or
3. the code is named in `exceptions.py`.

So an id that came with the request is believed only after it was looked for in the caller's workspace. What no request
caused, engine, sweeps and scheduler, has no caller and is not looked at.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper

from tests.spies.exceptions import UNBOUND
from tests.spies.shapes import Shape, shape
from tests.spies.violations import report, told_by


class Caller:
    """Whose request is being answered, and what is known to be theirs."""

    def __init__(self, workspace_id: int) -> None:
        self.workspace_id = workspace_id
        self.known: set[Any] = set()

    def learn(self, values: Iterable[Any]) -> None:
        for value in values:
            if (key := canonical(value)) is not None:
                self.known.add(key)


caller: ContextVar[Caller | None] = ContextVar("spied_caller", default=None)


def canonical(value: Any) -> Any:
    """An id in one form for both databases; None for what is no id."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, str):
        plain = value.replace("-", "").lower()
        return plain if len(plain) == 32 else None
    return value if type(value) is int else None


class _Found:
    """A statement that was accepted: what it finds is known from then on."""

    def __init__(self, who: Caller, keys: list[Any], owner: int | None) -> None:
        self.who, self.keys, self.owner = who, keys, owner

    def rows(self, rows: Iterable[Any]) -> None:
        for row in rows:
            if self.owner is not None and row[self.owner] not in (self.who.workspace_id, None):
                continue
            self.who.learn(row)
            self.who.learn(self.keys)
            self.keys = []


def watch(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """An `execute_wrapper` of Django that judges a statement, and remembers what it finds."""
    who = caller.get()
    asked = shape(sql) if who is not None and isinstance(sql, str) else None
    if who is None or asked is None:
        return execute(sql, params, many, context)
    sets = list(params or ()) if many else [params or ()]
    keys = [key for one in sets for place in asked.keys for key in _each(one[place])]
    accepted = asked.is_insert or _is_accepted(who, asked, sql, sets, keys)
    answer = execute(sql, params, many, context)
    cursor = context["cursor"]
    cursor.spied = _Found(who, keys, asked.owner) if accepted else None
    if accepted and cursor.cursor.rowcount > 0 and not sql.lstrip().startswith("SELECT"):
        who.learn(keys)
        who.learn(one[place] for one in sets for place in asked.made)
    return answer


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_accepted(who: Caller, asked: Shape, sql: str, sets: list[Any], keys: list[Any]) -> bool:
    others = {one[place] for one in sets for place in asked.workspaces} - {who.workspace_id}
    if asked.names_workspace and not others:
        return True
    unknown = [key for key in keys if key is not None and canonical(key) not in who.known]
    if asked.keys and not unknown and not others:
        return True
    code = told_by()
    if UNBOUND.keys().isdisjoint(code):
        reason = (
            f"names workspaces {others}" if others else f"does not know {unknown}" if keys else "names no workspace"
        )
        by = " < ".join(code[:4]) or "no code of the product"
        report(f"SQL of {by} for workspace {who.workspace_id} {reason}: {sql[:400]}")
        return False
    return True


def _fetching(self: CursorWrapper, name: str) -> Any:
    """`CursorWrapper.__getattr__`, with an eye on the rows that are fetched."""
    got = _original(self, name)
    found = self.__dict__.get("spied")
    if found is None or name not in ("fetchone", "fetchmany", "fetchall"):
        return got

    def fetch(*args: Any, **kwargs: Any) -> Any:
        rows = got(*args, **kwargs)
        if rows:
            found.rows([rows] if name == "fetchone" else rows)
        return rows

    return fetch


def _connected(connection: Any, **_: Any) -> None:
    if watch not in connection.execute_wrappers:
        connection.execute_wrappers.append(watch)


_original = CursorWrapper.__getattr__


def install() -> None:
    """Watch every connection of Django that is made from now on."""
    connection_created.connect(_connected)
    CursorWrapper.__getattr__ = _fetching  # type: ignore[method-assign]
    _watch_api()
    _watch_pages()


def _watch_api() -> None:
    from platform_site.core.http.handler import ApiHandler

    make, answer = ApiHandler.__init__, ApiHandler.__call__

    def init(self: Any, *args: Any, authenticate: Callable[[Any], Any], **kwargs: Any) -> None:
        async def authenticated(request: Any) -> Any:
            principal = await authenticate(request)
            caller.set(Caller(principal.workspace_id))
            return principal

        make(self, *args, authenticate=authenticated, **kwargs)

    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        try:
            await answer(self, scope, receive, send)
        finally:
            # Tests call the application in their own task.
            caller.set(None)

    ApiHandler.__init__ = init  # type: ignore[method-assign]
    ApiHandler.__call__ = call  # type: ignore[method-assign]


def _watch_pages() -> None:
    from django.core.handlers.base import BaseHandler

    from platform_site.console import shell

    enter, respond, respond_async = shell.enter, BaseHandler.get_response, BaseHandler.get_response_async

    def entered(request: Any) -> bool:
        is_in = enter(request)
        if is_in:
            caller.set(Caller(request.principal.workspace_id))
        return is_in

    def get_response(self: Any, request: Any) -> Any:
        try:
            return respond(self, request)
        finally:
            caller.set(None)

    async def get_response_async(self: Any, request: Any) -> Any:
        try:
            return await respond_async(self, request)
        finally:
            caller.set(None)

    shell.enter = entered
    BaseHandler.get_response = get_response  # type: ignore[method-assign]
    BaseHandler.get_response_async = get_response_async  # type: ignore[method-assign]
