"""Health checks of containers: `python -m platform_site.processes.alive`, for the web process with `--web`.

A worker or beat shows that it is well by touching a file, the web process by answering. Checks run every few seconds:
nothing of Django is imported here.
"""

import http.client
import os
import sys
import time
from pathlib import Path

# How often it is touched, in seconds.
INTERVAL = 5.0
# A file that was not touched for longer shows that its process hangs.
STALE_SECONDS = 60.0


def touch(path: str) -> None:
    """Say that this process is well; without a path, do nothing."""
    if path:
        Path(path).touch()


def is_alive(path: str) -> bool:
    """Whether the process that touches this file has done so lately."""
    try:
        return bool(path) and time.time() - Path(path).stat().st_mtime < STALE_SECONDS
    except FileNotFoundError:
        return False


def answers(host: str, port: int) -> bool:
    """Whether the web process answers `/ok`."""
    connection = http.client.HTTPConnection(host, port, timeout=4)
    try:
        connection.request("GET", "/ok")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """The exit status of a check: 0 for well."""
    if "--web" in arguments:
        host = os.environ.get("HOST", "")
        well = answers("127.0.0.1" if host in ("", "0.0.0.0", "::") else host, int(os.environ.get("PORT", "2024")))
    else:
        well = is_alive(os.environ.get("ALIVE_FILE", ""))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
