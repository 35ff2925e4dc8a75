"""The API as code of this process reaches it.

`core/loopback/transport.py` brings the requests, `core/loopback/acting.py` says who calls.

It is the API of the network with the same routes, bodies, permissions and quotas. Only who calls is decided in another
way, and nothing that a request contains takes part in that.
"""

import re
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.http import HttpRequest

from platform_site import api_urls
from platform_site.access import authentication
from platform_site.access.authorization import authorize
from platform_site.access.principal import Principal
from platform_site.core.config import config
from platform_site.core.database.access import read_db
from platform_site.core.errors import ApiError, Conflict, Forbidden
from platform_site.core.http.cors import OriginPolicy
from platform_site.core.http.handler import ApiHandler, ApiRequest, Receive, Send, error_response
from platform_site.core.ids import parse_uuid
from platform_site.core.loopback.acting import Actor
from platform_site.core.loopback.transport import ACTOR
from runs.models import Run, RunStatus

OUTSIDE = (
    "This request of the SDK was made outside of any run (while a module was imported, in a thread that a node did "
    "not hand its context, or after the run had ended), so nobody is known for whom it could act. Make it inside a "
    "node, tool or factory, or give get_client() a URL and an API key."
)
OWN_RUN = "A run cannot wait for its own end."
OWN_THREAD = (
    "This run waits for a run that is queued behind it on the same thread, and would do so for ever. Use another "
    "thread, or create the run without waiting for it."
)
# Operations that answer when a run has ended.
_WAITS = re.compile(r"/(wait|join|stream)$")
_CREATES_AND_WAITS = re.compile(r"/threads/([^/]+)/runs/(?:wait|stream)")
_JOINS = re.compile(r"/threads/([^/]+)/runs/([^/]+)/join")


class LoopbackHandler(ApiHandler):
    """Serves requests of code in this process, for the `Actor` in their scope."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        actor: Actor | None = scope[ACTOR]
        if actor is None or not _WAITS.search(scope["path"]):
            await super().__call__(scope, receive, send)
            return
        try:
            # Before the run is made: it may use the slot of the run that waits.
            waiting = actor.waiting()
            waiting.__enter__()
        except ApiError as refusal:
            await self._send_complete(error_response(refusal), send, head=False)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            waiting.__exit__(None, None, None)

    async def _read_body(self, request: ApiRequest, receive: Receive, is_public: bool) -> bytes:
        body = await super()._read_body(request, receive, is_public)
        await _require_an_end(request.scope[ACTOR], str(request.path), body)
        return body


async def _require_an_end(actor: Actor | None, path: str, body: bytes) -> None:
    """Raise `Conflict` for a request of a run that is answered after the end of this run only."""
    if actor is None or actor.run_id is None:
        return
    joined, created = _JOINS.fullmatch(path), _CREATES_AND_WAITS.fullmatch(path)
    if joined and parse_uuid(joined[2]) == actor.run_id:
        raise Conflict(OWN_RUN)
    if joined and parse_uuid(joined[1]) == actor.thread_id and await read_db(_is_queued, actor, parse_uuid(joined[2])):
        raise Conflict(OWN_THREAD)
    if created and parse_uuid(created[1]) == actor.thread_id and _strategy(body) == "enqueue":
        raise Conflict(OWN_THREAD)


def _is_queued(actor: Actor, run_id: UUID | None) -> bool:
    if run_id is None or actor.thread_id is None:
        return False
    own = Run.objects.filter(thread_id=actor.thread_id, thread__workspace_id=actor.principal.workspace_id)
    return own.filter(run_id=run_id, status=RunStatus.PENDING).exists()


def _strategy(body: bytes) -> Any:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        # The view refuses it.
        return None
    return (given.get("multitask_strategy") or "enqueue") if isinstance(given, dict) else None


async def authenticate(request: HttpRequest) -> Principal:
    """Return for whom the code runs that asks. Raise `Forbidden` outside of runs, unless nobody needs to be known."""
    actor: Actor | None = request.scope[ACTOR]  # type: ignore[attr-defined]
    if actor is not None:
        return actor.principal
    if settings.AUTH == "open":
        return await authentication.authenticate(request)
    raise Forbidden(OUTSIDE)


def application() -> LoopbackHandler:
    """Return the application for `core.loopback.transport.serve_loopback`."""
    return LoopbackHandler(
        api_urls,
        # No page and no other machine can ask here.
        origins=OriginPolicy(is_open=False),
        authenticate=authenticate,
        authorize=authorize,
        public=api_urls.PUBLIC,
        without=config().http.disabled,
    )
