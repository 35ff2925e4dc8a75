"""The request of a webhook: one connection to an address that was judged, and one answer, of which little is read.

There are no proxies, no redirects and no decompression. The address is judged where the socket opens, and the socket
connects to that address: no name is resolved in between, so none can change its meaning.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache

import httpcore
import httpx
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from platform_site.webhooks.addresses import Blocked, Resolver, Rules
from platform_site.webhooks.endpoint_rules import Target
from platform_site.webhooks.retries import Answer

CONNECT_SECONDS = 5.0
# How much of an answer's body is kept, and how long it may take to come.
BODY_BYTES = 4096
BODY_SECONDS = 2.0
HEADERS_KEPT = 50
HEADER_CHARACTERS = 1000


class CheckedBackend(AsyncNetworkBackend):
    """A network that opens sockets to addresses that the rules allow, and to no others."""

    def __init__(self, resolver: Resolver, rules: Rules, inner: AsyncNetworkBackend) -> None:
        self._resolver, self._rules, self._inner = resolver, rules, inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        failure: Exception = Blocked("no address")
        for address in await self._resolver.addresses(host, port, self._rules):
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SOCKET_OPTION] | None = None
    ) -> AsyncNetworkStream:
        raise Blocked("not an address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@cache
def _tls() -> ssl.SSLContext:
    # SSL_CERT_FILE and SSL_CERT_DIR in the environment name an operator's own certificates.
    return httpx.create_ssl_context()


class Sender:
    """A sender of webhooks, which reaches the world through `resolver` and `network` only."""

    def __init__(self, resolver: Resolver, network: AsyncNetworkBackend | None = None) -> None:
        self._resolver = resolver
        self._network = network or httpcore.AnyIOBackend()

    async def post(
        self, target: Target, rules: Rules, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> Answer:
        """Post the body and return the answer within `seconds`. Nothing that a receiver does raises an exception."""
        answer, begin = Answer(), time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                await self._exchange(answer, target, rules, headers, body)
        except TimeoutError:
            # A status that has come counts: only the rest of the answer is cut off.
            answer.error = f"No answer within {seconds:g} s." if answer.status is None else ""
        except Blocked as blocked:
            answer.error = f"{blocked}."
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
            if answer.status is None:
                answer.error = _sentence(error)
        answer.milliseconds = round((time.perf_counter() - begin) * 1000)
        return answer

    async def _exchange(
        self, answer: Answer, target: Target, rules: Rules, headers: Mapping[str, str], body: bytes
    ) -> None:
        backend = CheckedBackend(self._resolver, rules, self._network)
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        tls = _tls() if target.scheme == "https" else None
        async with (
            httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=backend, max_connections=1) as pool,
            pool.stream(
                "POST",
                url,
                headers=list(headers.items()),
                content=body,
                extensions={"timeout": {"connect": CONNECT_SECONDS}},
            ) as response,
        ):
            answer.status = response.status
            answer.headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1")[:HEADER_CHARACTERS])
                for name, value in response.headers[:HEADERS_KEPT]
            ]
            answer.body = await _excerpt(response)


async def _excerpt(response: httpcore.Response) -> str:
    """Return the beginning of an answer's body, as far as it comes soon."""
    read = bytearray()
    # The status has arrived, so a body that breaks off is no failure.
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.aiter_stream():
                read += chunk[: BODY_BYTES - len(read)]
                if len(read) >= BODY_BYTES:
                    break
    # PostgreSQL stores no NUL in texts.
    return read.decode("utf-8", "replace").replace("\x00", "\ufffd")


def _sentence(error: Exception) -> str:
    """Return for people what went wrong."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, httpcore.ConnectTimeout):
        return f"No connection within {CONNECT_SECONDS:g} s."
    if isinstance(error, httpcore.ConnectError):
        return f"No connection: {text}"[:1000]
    if isinstance(error, httpcore.ProtocolError):
        return f"The answer is no HTTP: {text}"[:1000]
    return f"The connection broke: {text}"[:1000]
