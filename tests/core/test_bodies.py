"""How large a body may be, and how it is read without exceeding that."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from platform_site.core.errors import TooLarge, UnsupportedMediaType
from platform_site.core.http.bodies import Disconnected, most_bytes, read_body
from tests.core.test_handler import ask, handler


def parts(*bodies: bytes, ends: bool = True) -> tuple[Callable[[], Awaitable[dict[str, Any]]], list[bytes]]:
    """A client that sends these parts, and what it has not sent yet."""
    waiting = list(bodies)

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting) or not ends}

    return receive, waiting


async def test_parts_become_one_body() -> None:
    receive, _ = parts(b"ab", b"", b"cd")
    assert await read_body(receive, 4) == b"abcd"


async def test_no_part_is_read_after_the_limit() -> None:
    receive, waiting = parts(b"ab", b"cd", b"e", b"f", b"g")
    with pytest.raises(TooLarge, match="larger than 4 bytes"):
        await read_body(receive, 4)
    assert waiting == [b"f", b"g"]


@pytest.mark.parametrize("length", ["5", "1" + "0" * 30, "9" * 5000])
async def test_no_part_is_read_where_the_length_says_enough(length: str) -> None:
    receive, waiting = parts(b"abcde")
    with pytest.raises(TooLarge):
        await read_body(receive, 4, length=length)
    assert waiting == [b"abcde"]


async def test_a_client_that_goes_away_has_sent_nothing() -> None:
    receive, _ = parts(b"ab", ends=False)
    with pytest.raises(Disconnected):
        await read_body(receive, 4)


async def test_an_encoding_without_a_body_is_nothing() -> None:
    assert await read_body(parts(b"")[0], 4, encoding="gzip") == b""
    with pytest.raises(UnsupportedMediaType):
        await read_body(parts(b"a")[0], 4, encoding="gzip")


@pytest.mark.parametrize("coding", ["gzip", "br", "identity", "x"])
async def test_the_api_takes_no_encoded_body(coding: str) -> None:
    status, headers, _ = await ask(handler(), "POST", "/echo/x", body=b"abc", content_encoding=coding)
    assert (status, headers["accept-encoding"], headers["connection"]) == (415, "identity", "close")
    assert (await ask(handler(), "GET", "/status/200", content_encoding=coding))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/threads", 25_000_000),
        ("GET", "/threads/x", 25_000_000),
        ("POST", "/dashboard/sign-in", 1_000_000),
        ("POST", "/admin", 1_000_000),
        ("GET", "/dashboard/", 0),
        ("HEAD", "/admin/", 0),
        ("POST", "/static/css/base.css", 0),
        ("GET", "/ok", 0),
        ("POST", "/info", 0),
        ("POST", "/dashboards", 25_000_000),
        ("POST", "/statics", 25_000_000),
    ],
)
def test_what_a_path_takes(method: str, path: str, limit: int) -> None:
    assert most_bytes(method, path) == limit
