"""How a worker or beat shows that it is well: a file that it touches. `python -m platform_site.alive` looks at it.

For health checks of containers, which run every few seconds: nothing of Django is imported here.
"""

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


if __name__ == "__main__":
    sys.exit(not is_alive(os.environ.get("ALIVE_FILE", "")))
