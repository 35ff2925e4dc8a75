"""`serve --scaled`: PostgreSQL, Valkey, workers, beat and web as supervised processes, to try scale mode out."""

import os
import signal
import socket
import sys

from django.conf import settings

from platform_site.processes.local_servers import LocalPostgres, LocalValkey
from platform_site.processes.serving import CannotStart, local_address
from platform_site.processes.supervisor import GaveUp, Program, Supervisor

# How much longer than the drain a worker may take to end.
_AFTER_DRAIN_SECONDS = 30.0
_POSTGRES, _VALKEY, _WORKERS, _WEB = range(4)


def run(listener: socket.socket, *, workers: int, server: str) -> int:
    """Run everything until SIGTERM or SIGINT; the exit status.

    `listener` holds the address that the web process will listen on. Raises CannotStart for what can be put right.
    """
    if settings.DATABASE_URL:
        raise CannotStart(
            "--scaled starts a PostgreSQL and a Valkey of its own, but DATABASE_URL is set: "
            "start `serve` and `celery -A platform_site worker` yourself, see docs/deploying.md"
        )
    postgres = LocalPostgres(settings.DATA_DIR / "postgres")
    valkey = LocalValkey(settings.DATA_DIR / "valkey")
    postgres.prepare()
    valkey.prepare()
    host, port = listener.getsockname()[:2]
    listener.close()
    environment = {
        **os.environ,
        "DATABASE_URL": postgres.url(),
        "REDIS_URL": valkey.url,
        "SECRET_KEY": settings.SECRET_KEY,
        "HOST": host,
        "PORT": str(port),
        # Where workers reach the web process.
        "WEB_URL": settings.WEB_URL or local_address(host, port),
        "DATA_DIR": str(settings.DATA_DIR),
        # Of the supervisor's output, which they all share.
        "LOG_FORMAT": settings.LOG_FORMAT,
        "PYTHONUNBUFFERED": "1",
        # `-m celery` finds the project by it; the directory stays the user's.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH")])),
    }
    supervisor = Supervisor(_programs(postgres, valkey, environment, workers=workers, server=server))
    supervisor.say(f"PostgreSQL is at {postgres.url()}")
    supervisor.say(f"Valkey is at {valkey.url}")
    try:
        supervisor.run()
    except GaveUp as reason:
        supervisor.say(str(reason))
        return 1
    return 0


def _programs(
    postgres: LocalPostgres, valkey: LocalValkey, environment: dict[str, str], *, workers: int, server: str
) -> list[Program]:
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    celery = [sys.executable, "-m", "celery", "-A", "platform_site"]
    serve = [sys.executable, str(settings.BASE_DIR / "manage.py"), "serve", "--server", server]
    drain = settings.DRAIN_SECONDS + _AFTER_DRAIN_SECONDS
    user = postgres.user
    return [
        Program(
            "postgres",
            postgres.command,
            bare,
            _POSTGRES,
            is_ready=postgres.is_ready,
            # A fast shutdown: SIGTERM would wait for clients.
            stop_signal=signal.SIGINT,
            stop_seconds=30,
            orphan_signal=signal.SIGINT,
            identity={"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {},
        ),
        # Valkey warns that background saves need overcommitted memory, and this one saves nothing.
        Program("valkey", valkey.command, bare, _VALKEY, is_ready=valkey.is_ready, noise="overcommit"),
        *(
            Program(
                f"worker-{number}",
                [*celery, "worker", "-n", f"worker-{number}@%h"],
                {**environment, **_metrics_port(number)},
                _WORKERS,
                stop_seconds=drain,
            )
            for number in range(1, workers + 1)
        ),
        Program("beat", [*celery, "beat"], environment, _WORKERS),
        Program("web", serve, environment, _WEB, stop_seconds=drain),
    ]


def _metrics_port(number: int) -> dict[str, str]:
    """A port of its own for each worker, from the one that is asked for on."""
    first = settings.WORKER_METRICS_PORT
    return {"WORKER_METRICS_PORT": str(first + number - 1)} if first else {}
