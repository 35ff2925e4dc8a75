"""Identifiers: UUIDv7 for what the server makes, and the one reading of ids that clients send."""

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> UUID:
    """A UUIDv7 (RFC 9562, 5.7), strictly increasing within this process: a 12-bit counter follows the milliseconds."""
    global _last_ms, _counter
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _counter = now, int.from_bytes(os.urandom(1))
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, 0
        ms, counter = _last_ms, _counter
    tail = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=ms << 80 | 0x7000 << 64 | counter << 64 | 0x8000_0000_0000_0000 | tail)


def parse_uuid(text: str) -> UUID | None:
    """The UUID that `text` spells in its canonical form of 36 characters, else None."""
    if len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
