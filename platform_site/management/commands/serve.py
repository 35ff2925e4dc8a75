"""`manage.py serve`: everything in one process, from SQLite files in one directory, or on PostgreSQL."""

import argparse
import logging
import os
import shlex
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from platform_site.access.authentication import check_settings
from platform_site.core.config import Config, ConfigError, config
from platform_site.core.database.data_directory import DataDirectoryInUse
from platform_site.core.graphs.loading import SCRIPTS
from platform_site.core.graphs.registry import GraphRegistry, registry
from platform_site.core.items.embeddings import check_embed
from platform_site.core.telemetry import tracing
from platform_site.core.telemetry.logs import printable
from platform_site.processes import serving
from platform_site.processes.command_line import add_environment_flags
from platform_site.processes.http.servers import DaphneServer, FrontDoor, HttpServer, PortInUse, UvicornServer, bind
from platform_site.processes.reloading import run_with_reloader
from platform_site.processes.serving import CannotStart

logger = logging.getLogger("switchyard.serving")

# The longest that the banner waits for the graphs.
GRAPHS_SECONDS = 5.0

SERVERS: dict[str, type[HttpServer]] = {"uvicorn": UvicornServer, "daphne": DaphneServer}


class Command(BaseCommand):
    help = "Serve the API, the dashboard and the engine in one process."
    # `serve` looks at the migrations itself, and a check of every URL would cost the start half a second.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        # Read by manage.py already, before the settings; named here for --help and for wrong values.
        add_environment_flags(parser)
        parser.add_argument("--server", choices=sorted(SERVERS), default="uvicorn", help="The HTTP server (uvicorn).")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--reload", action="store_true", help="Start again when a graph or the code changes.")
        how.add_argument(
            "--scaled",
            action="store_true",
            help="Start a PostgreSQL, a Valkey, workers and beat with it.",
        )
        parser.add_argument("--workers", type=_at_least_one, metavar="N", help="Workers of --scaled (2).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] and not options["scaled"]:
            raise CommandError("--workers goes with --scaled: without it runs are executed in the one process")
        if options["scaled"]:
            sys.exit(self._serve_scaled(options["server"], options["workers"] or 2))
        elif options["reload"]:
            run_with_reloader(lambda: self._serve(options["server"]))
        else:
            status = self._serve(options["server"])
            serving.end_soon(status)
            sys.exit(status)

    def _serve(self, server_name: str) -> int:
        """Serve until told to stop; the exit status."""
        try:
            listener, url = take_possession()
        except CannotStart as reason:
            self.stderr.write(f"switchyard: {reason}")
            return 1
        door = FrontDoor()
        server = SERVERS[server_name](door, listener)
        opening = _Opening(door, server, lambda: self._announce(url))
        opening.start()
        server.run()
        return 1 if opening.failed else 0

    def _serve_scaled(self, server_name: str, workers: int) -> int:
        from platform_site.processes import scaled_stack

        try:
            listener, _ = take_possession()
            return scaled_stack.run(listener, workers=workers, server=server_name)
        except CannotStart as reason:
            self.stderr.write(f"switchyard: {reason}")
            return 1

    def _announce(self, url: str) -> None:
        # The server answers meanwhile. A graph that takes longer is announced as loading.
        registry().wait(GRAPHS_SECONDS)
        self.stdout.write(banner(url))
        # Into a pipe it would stay in the buffer.
        self.stdout.flush()


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("there must be one at least")
    return number


def take_possession() -> tuple[socket.socket, str]:
    """A socket bound to the address of the settings and its URL, with the data directory locked.

    Everything an operator can get wrong is found out here, before anything is begun. Raises CannotStart.
    """
    try:
        check_settings()
        check_embed(config())
        tracing.check()
        listener = bind(settings.HOST, settings.PORT)
        url = url_of(listener)
        serving.claim_data_directory(url)
    except (ImproperlyConfigured, ConfigError, PortInUse, DataDirectoryInUse) as reason:
        raise CannotStart(str(reason)) from None
    except OSError as reason:
        raise CannotStart(f"cannot use the data directory {settings.DATA_DIR}: {reason}") from None
    return listener, url


class _Opening(threading.Thread):
    """Prepares the process and opens the door, while the HTTP server answers `/ok` already."""

    def __init__(self, door: FrontDoor, server: HttpServer, opened: Any) -> None:
        super().__init__(name="opening", daemon=True)
        self._door = door
        self._server = server
        self._opened = opened
        self.failed = False

    def run(self) -> None:
        try:
            serving.ensure_started()
            self._door.open(import_module("platform_site.asgi").application)
            self._opened()
        except BaseException as reason:
            if isinstance(reason, ConfigError):
                logger.error("the server cannot start: %s", reason)
            else:
                logger.exception("the server cannot start")
            self.failed = True
            self._door.fail(reason)
            self._server.stop()
        finally:
            connections.close_all()


def url_of(listener: socket.socket) -> str:
    """The address of a bound socket, as a person would open it on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def banner(url: str) -> str:
    """What a newcomer needs: where things are, how to sign in, and in keys mode how to get a key."""
    from django.contrib.auth import get_user_model

    from platform_site.access.default_workspace import SUPERUSER
    from platform_site.access.services import sign_in_link_create

    user = get_user_model().objects.get(username=SUPERUSER)
    used = config()
    lines = [
        "",
        _headline(used, registry()),
        f"  API        {url}{used.http.mount_prefix}",
        *([] if used.http.disable_meta else [f"  API docs   {url}{used.http.mount_prefix}/docs"]),
        *([] if used.http.disable_ui else _about_pages(url, sign_in_link_create(user))),
        *about_graphs(registry()),
        f"  Data       {'PostgreSQL' if settings.DATABASE_URL else settings.DATA_DIR}",
        *_about_access(),
        "",
    ]
    return "\n".join(lines)


def _headline(used: Config, graphs: GraphRegistry) -> str:
    if set(graphs.failures) != set(graphs.ids):
        return "Switchyard is ready."
    if all(spec.file and spec.file.suffix in SCRIPTS for spec in used.graphs.values()):
        return "Switchyard is running, but it serves Python graphs only, and this project has none."
    return "Switchyard is running, but none of its graphs can be served."


def about_graphs(graphs: GraphRegistry) -> list[str]:
    """Return a line with the graphs that can be used, then one for each broken graph: the reason with file and line."""
    failures = dict(graphs.failures)
    served = []
    for graph_id in graphs.ids:
        if graph_id not in failures:
            served.append(f"{graph_id} (loading)" if graphs.state(graph_id) == "loading" else graph_id)
    lines = [f"  Graphs     {', '.join(served) or 'none'}   ({settings.LANGGRAPH_CONFIG or 'the samples'})"]
    for graph_id, reason in failures.items():
        # The text of an exception may have several lines, and characters that steer a terminal.
        lines.append(f"  Broken     {printable(graph_id)}: {printable(' '.join(reason.split()))}")
    return lines


def _about_pages(url: str, sign_in: str) -> list[str]:
    return [f"  Dashboard  {url}/dashboard/", f"  Sign in    {url}{sign_in}   (once, within ten minutes)"]


def _about_access() -> list[str]:
    from platform_site.access.models import ApiKey

    if settings.AUTH == "open":
        note = "open: programs on this machine need no key"
        if not settings.IS_LOOPBACK:
            note += "; nobody else is answered, set AUTH=keys for them"
        return [f"  Access     {note}"]
    if ApiKey.objects.filter(revoked_at=None).exists():
        return ["  Access     API keys (X-Api-Key)"]
    return ["  Access     API keys (X-Api-Key); there is none yet. Make one:", f"               {create_key_command()}"]


def create_key_command() -> str:
    """The exact command that makes the first API key of this server."""
    words = [os.path.relpath(sys.executable), "manage.py", "create_api_key", "my-first-key"]
    if len(words[0]) > len(sys.executable):
        words[0] = sys.executable
    # What lies in the data directory: with `--scaled` PostgreSQL's data and the secret key do. Its own has no password,
    # and another's is none of the log's business.
    has_password = urlsplit(settings.DATABASE_URL).password is not None
    is_scaled = bool(settings.DATABASE_URL) and not has_password and (settings.DATA_DIR / "postgres").exists()
    if is_scaled:
        words.insert(0, f"DATABASE_URL={shlex.quote(settings.DATABASE_URL)}")
    if (is_scaled or not settings.DATABASE_URL) and Path(".switchyard").absolute() != settings.DATA_DIR:
        words.insert(0, f"DATA_DIR={shlex.quote(str(settings.DATA_DIR))}")
    return " ".join(words)
