"""A real receiver of webhooks: an HTTP server on a thread, which answers as it is told."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
from standardwebhooks.webhooks import Webhook


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.raw)
        return found

    @property
    def identity(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> bool:
        """Whether the public library accepts the signature; it raises if it does not."""
        Webhook(secret).verify(self.raw, self.headers)
        return True


# What a receiver does with a request: it writes its answer, or does not.
Behaviour = Callable[[BaseHTTPRequestHandler], None]


def answers(status: int, body: bytes = b"ok", **headers: str) -> Behaviour:
    """A receiver that answers so."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def raw(data: bytes) -> Behaviour:
    """A receiver that answers with these bytes and closes."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(data)
        request.close_connection = True

    return answer


class Receiver:
    """Keeps what it gets. `script` says what to do with the first requests, `then` with the others."""

    def __init__(self, script: list[Behaviour] | None = None, then: Behaviour | None = None) -> None:
        self.received: list[Received] = []
        self.script, self.then = list(script or []), then or answers(200)
        # Opened by the end of the test: until then a request may hang on it.
        self.released = threading.Event()
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True
            accepted = 0

            def get_request(self) -> Any:
                self.accepted += 1
                return super().get_request()

            def handle_error(self, request: Any, client_address: Any) -> None:
                """The other side may go away."""

        self.server = Server(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?tok=1"

    @property
    def connections(self) -> int:
        """How many sockets were accepted."""
        return self.server.accepted

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._changed:
            self.received.append(Received(request.path, headers, body))
            behave = self.script.pop(0) if self.script else self.then
            self._changed.notify_all()
        behave(request)

    def hangs(self, request: BaseHTTPRequestHandler) -> None:
        """Answers when the test is over."""
        self.released.wait(60)

    def streams_forever(self, request: BaseHTTPRequestHandler) -> None:
        """A byte now and then, until the test is over."""
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.released.wait(0.01):
            request.wfile.write(b"x")

    def wait(self, count: int, seconds: float = 30) -> list[Received]:
        """The requests, once there are so many."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(self.received) < count:
                assert self._changed.wait(max(0.0, deadline - time.monotonic())), f"{len(self.received)} of {count}"
            return list(self.received)


@contextmanager
def receiving(script: list[Behaviour] | None = None, then: Behaviour | None = None) -> Iterator[Receiver]:
    """A receiver at work."""
    receiver = Receiver(script, then)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield receiver
    receiver.released.set()
    receiver.server.shutdown()
    receiver.server.server_close()
