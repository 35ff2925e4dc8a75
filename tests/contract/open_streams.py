"""Streams that never end by themselves: opened before the exchanges that they were recorded during, read after them."""

import threading
import time
from contextlib import suppress

import httpx

# How long the exchanges of one file may take to be heard in all.
SECONDS = 20


class OpenStream:
    """One stream, open from the moment it is made. In the end it looks like any answer."""

    def __init__(self, base_url: httpx.URL, path: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=SECONDS)
        self._answer = self._http.send(self._http.build_request("GET", path), stream=True)
        self.status_code, self.headers = self._answer.status_code, self._answer.headers
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Cut by `heard`, or by the server's end.
        with suppress(httpx.HTTPError, OSError):
            for chunk in self._answer.iter_raw():
                self._chunks.append(chunk)

    def heard(self, events: int) -> "OpenStream":
        """Cut the stream when it has told so many events."""
        deadline = time.monotonic() + SECONDS
        while self.text.count("event: ") < events and time.monotonic() < deadline:
            time.sleep(0.02)
        return self

    @property
    def text(self) -> str:
        text = b"".join(self._chunks).decode()
        return text[: text.rfind("\r\n\r\n") + 4] if "\r\n\r\n" in text else ""

    @property
    def content(self) -> bytes:
        return self.text.encode()

    def close(self) -> None:
        self._answer.close()
        self._http.close()
