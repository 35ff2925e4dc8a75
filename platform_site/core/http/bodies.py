"""Bodies of requests: how large they may be, by method and path, and how they are read without exceeding it.

Three readers ask here: the API's handler, the door of the pages, and Daphne, which reads a body before it calls us.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

from platform_site.core.errors import TooLarge, UnsupportedMediaType
from platform_site.core.http.routing import PUBLIC

PAGES = ("/dashboard", "/admin", "/static")


class Disconnected(Exception):
    """The client went away before its request was complete."""


def is_below(path: str, places: tuple[str, ...]) -> bool:
    """Return whether the path is one of these places or lies below one."""
    return path.startswith(places) and any(path == place or path.startswith(place + "/") for place in places)


def most_bytes(method: str, path: str) -> int:
    """Return how many bytes the body of such a request may have. Pages that are read, and what is public, take none."""
    if is_below(path, PAGES):
        only_read = method in ("GET", "HEAD") or is_below(path, ("/static",))
        return 0 if only_read else settings.MAX_PAGE_BODY_BYTES
    return 0 if path in PUBLIC else settings.MAX_BODY_BYTES


def too_large(limit: int) -> TooLarge:
    """Return the error of a body above the limit. The connection ends with it: the rest of the body is not wanted."""
    detail = f"Request body is larger than {limit} bytes" if limit else "This request takes no body"
    return TooLarge(detail, headers={"Connection": "close"})


async def read_body(
    receive: Callable[[], Awaitable[Mapping[str, Any]]], limit: int, *, length: str = "", encoding: str = ""
) -> bytes:
    """Return the body. `length` and `encoding` are the headers `Content-Length` and `Content-Encoding`.

    Raise TooLarge before more than `limit` bytes and one message are held, UnsupportedMediaType for a body with an
    encoding (it would have to be unpacked to be judged), and Disconnected.
    """
    # Far more digits than any limit has: `int` would take long, or refuse.
    if length.isdecimal() and (len(length) > 30 or int(length) > limit):
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        if part := message.get("body", b""):
            size += len(part)
            if size > limit:
                raise too_large(limit)
            if encoding:
                raise UnsupportedMediaType(
                    "A request body must not have a Content-Encoding",
                    headers={"Accept-Encoding": "identity", "Connection": "close"},
                )
            parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
