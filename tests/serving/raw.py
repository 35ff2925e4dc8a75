"""Bytes on a socket: what no HTTP client would send."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.live import LiveServer


@dataclass
class Answer:
    """What a server wrote until it closed the connection, or until its answer was complete."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_closed: bool


class Connection:
    """A client that decides about every byte."""

    def __init__(self, server: LiveServer, timeout: float = 30, source: str = "127.0.0.1") -> None:
        """Connect from `source`: every address that begins with 127 is this machine."""
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout, (source, 0))
        self._read = b""

    def send(self, data: bytes) -> None:
        """Send as much as the server takes; a server that has closed takes no more."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self, *, method: str = "GET") -> Answer:
        """Return the next answer. Its status is 0 where the server closed the connection without one."""
        while b"\r\n\r\n" not in self._read:
            if not self._receive():
                return Answer(0, {}, self._read, True)
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        while len(self._read) < length and self._receive():
            pass
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(first.split()[1]), headers, body, False)

    @property
    def received(self) -> bytes:
        """What came and belongs to no answer that was returned."""
        return self._read

    def is_closed(self) -> bool:
        """Wait for the server to close the connection; False if it does not before the timeout."""
        try:
            while self._receive():
                pass
        except TimeoutError:
            return False
        return True

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._read += data
        return bool(data)

    def close(self) -> None:
        self.socket.close()


@contextmanager
def connected(server: LiveServer, timeout: float = 30, source: str = "127.0.0.1") -> Iterator[Connection]:
    """A connection that ends with the block."""
    connection = Connection(server, timeout, source)
    try:
        yield connection
    finally:
        connection.close()


def exchange(server: LiveServer, data: bytes) -> Answer:
    """Send bytes on a connection of their own and return the answer."""
    with connected(server) as connection:
        connection.send(data)
        return connection.answer()


def resident_bytes(server: LiveServer) -> int:
    """Return the memory that the server's process holds now."""
    import psutil

    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


def wait_until(is_so: Callable[[], bool], *, timeout: float = 30) -> None:
    """Wait until a function returns True."""
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
