"""The door of the pages: what a request must be before Django reads it.

Django's handler writes a body to a temporary file before any view or middleware is asked. Here a body is read up to the
limit of its path, in memory, before Django sees the request.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from platform_site.core.errors import ApiError, Forbidden
from platform_site.core.http.bodies import Disconnected, most_bytes, read_body
from platform_site.core.http.peers import open_mode_refusal

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Pages = Callable[[Any, Any, Any], Awaitable[None]]


class PageDoor:
    """An ASGI application in front of the pages. `is_open`: only programs on this machine are let in."""

    def __init__(self, pages: Pages, *, is_open: bool) -> None:
        self._pages = pages
        self._is_open = is_open

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            if self._is_open and (reason := open_mode_refusal(scope)) is not None:
                raise Forbidden(reason)
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            body = await read_body(
                receive,
                most_bytes(scope["method"], scope["path"]),
                length=headers.get(b"content-length", ""),
                encoding=headers.get(b"content-encoding", ""),
            )
        except ApiError as error:
            return await _send_text(send, error)
        except Disconnected:
            return
        await self._pages(scope, _body_first(body, receive), send)


def _body_first(body: bytes, receive: Receive) -> Receive:
    """Return what receives the body in one message, then whatever else comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Mapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return read


async def _send_text(send: Send, error: ApiError) -> None:
    body = error.detail.encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
