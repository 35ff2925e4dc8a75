"""Starting again when a file changes, for `serve --reload` and `runserver`.

Django's reloader does it: a parent process starts the server as a child, the child ends when a module it has imported
changes. Only the child calls the server, so the engine and the lock of the data directory exist once.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import autoreload

# The child's exit status that asks the parent to start it again.
_AGAIN = 3
_djangos_module_files = autoreload.iter_all_python_module_files


def run_with_reloader(serve: Callable[[], int]) -> None:
    """Call `serve` in a child process, again after each change; ends the process with the status of `serve`."""

    def serve_and_end() -> None:
        status = serve()
        sys.stdout.flush()
        # This is not the main thread: nothing else would end the process.
        os._exit(status)

    watch()
    autoreload.run_with_reloader(serve_and_end)


def watch() -> None:
    """Watch langgraph.json and what lies beside it, and restart at once instead of waiting for running nodes."""
    autoreload.iter_all_python_module_files = module_files
    autoreload.autoreload_started.connect(_watch_user_files, dispatch_uid="switchyard")
    autoreload.file_changed.connect(_restart_now, dispatch_uid="switchyard")


def module_files() -> set[Path]:
    """The files of all modules, for Django's reloader.

    Graphs are imported on other threads meanwhile: a module whose import fails is listed first and gone when its turn
    comes, which would end the reloader and with it the server.
    """
    while True:
        with suppress(KeyError):
            return _djangos_module_files()


def _watch_user_files(sender: Any, **_: Any) -> None:
    from platform_site.core.config import ConfigError, config

    if settings.LANGGRAPH_CONFIG:
        sender.extra_files.add(Path(settings.LANGGRAPH_CONFIG).absolute())
        try:
            directory = config().directory
        except ConfigError:
            return
        sender.watch_dir(directory, "*.py")
        sender.watch_dir(directory, "*/*.py")
        sender.extra_files.add(directory / ".env")


def _restart_now(sender: Any, file_path: Path, **_: Any) -> None:
    # Django would wait for every thread, and a node may sleep for an hour. Its run is recovered at the start.
    if file_path.suffix in (".py", ".json", ".env") or file_path.name == ".env":
        sys.stdout.write(f"{file_path} changed: starting again.\n")
        sys.stdout.flush()
        os._exit(_AGAIN)
