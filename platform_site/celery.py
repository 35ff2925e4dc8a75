"""The Celery application of scale mode: it hosts the workers, and its beat is their safety net.

    celery -A platform_site worker
    celery -A platform_site beat

Runs are not Celery tasks. A worker runs the engine in its process (`EngineStep`) and claims runs in PostgreSQL. Celery
brings the process's life (signals, warm shutdown, the pool for tasks) and the schedule of beat.
"""

import logging
import os
import signal
import sys
import warnings
from functools import cached_property
from typing import Any
from urllib.parse import quote

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")

import django
from django.core.exceptions import ImproperlyConfigured

try:
    # Now, so that the first line of the log is in our format already.
    django.setup()
except ImproperlyConfigured as problem:
    # A wrong setting: its own sentence says all, Celery's traceback would hide it.
    sys.exit(f"switchyard: {problem}")

from celery import Celery, bootsteps, signals
from celery.apps.beat import Beat
from celery.apps.worker import Worker
from celery.beat import Scheduler, SchedulingError
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from django.conf import settings
from kombu.utils.url import as_url
from redis.connection import SSLConnection, parse_url

from platform_site.access.authentication import check_settings
from platform_site.core.config import ConfigError
from platform_site.core.database import data_directory
from platform_site.core.telemetry import tracing
from platform_site.processes import alive, serving

logger = logging.getLogger("switchyard.worker")

# At every lost connection Celery tells of a change of how it treats long tasks. Ours take milliseconds.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
# Celery warns of workers that run as root, because workers may unpickle messages. Ours take JSON only.
warnings.filterwarnings("ignore", category=SecurityWarning)


class LeanWorker(Worker):
    """A worker without what only Celery tasks need: no gossip, no event heartbeat, no banner over the logs."""

    def __init__(self, **options: Any) -> None:
        try:
            check_settings()
        except (ConfigError, ImproperlyConfigured) as problem:
            sys.exit(f"switchyard: {problem}")
        data_directory.keep_private()
        lean = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True, "quiet": True}
        super().__init__(**{**options, **lean})


class QuietBeat(Beat):
    """Beat without a banner over the logs."""

    def __init__(self, **options: Any) -> None:
        data_directory.keep_private()
        super().__init__(**{**options, "quiet": True})


class Application(Celery):
    """Celery with the classes above."""

    @cached_property
    def Worker(self) -> Any:
        return self.subclass_with_self(LeanWorker)

    @cached_property
    def Beat(self) -> Any:
        return self.subclass_with_self(QuietBeat)


class LivingScheduler(Scheduler):
    """Beat's schedule in memory, which needs no file: a tick that is missed or repeated does no harm."""

    def tick(self, *args: Any, **options: Any) -> Any:
        alive.touch(settings.ALIVE_FILE)
        return super().tick(*args, **options)

    def apply_async(self, *args: Any, **options: Any) -> Any:
        try:
            return super().apply_async(*args, **options)
        except SchedulingError as error:
            # In a line: while Redis is away, Celery would write three tracebacks every few seconds.
            logger.warning("no worker is woken: %s", error)
            return None


class EngineStep(bootsteps.StartStopStep):
    """The engine and the background tasks, from the start of a worker to its warm shutdown."""

    requires = {"celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:
        try:
            serving.start_worker(int(worker.concurrency))
        except (ConfigError, ImproperlyConfigured) as problem:
            logger.error("the worker cannot start: %s", problem)
            raise SystemExit(1) from None

    def stop(self, worker: Any) -> None:
        """Finish or give back the runs in work; then the process may end, threads that never end or not.

        Another signal meanwhile ends it at once.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, _end_at_once)
        try:
            serving.drain()
        finally:
            serving.end_soon(worker.exitcode or 0)

    def terminate(self, worker: Any) -> None:
        _end_at_once()


def _end_at_once(*_: Any) -> None:
    # As by SIGKILL: heartbeats end as well, so others take the runs. Threads of nodes might hold up any other end.
    os._exit(1)


def _broker(url: str) -> dict[str, Any]:
    """The settings that make Celery's connection of `url` what redis-py makes of it.

    Celery's own reading of it verifies no certificates, knows no database of a socket file and fails at options.
    """
    found: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    account = {"user": found.pop("username", None), "password": found.pop("password", None)}
    database, path = str(found.pop("db", 0)), found.pop("path", None)
    if path is None:
        place = as_url("redis", found.pop("host", None), found.pop("port", None), path=database, **account)
    else:
        place = as_url("redis+socket", path=quote(path.lstrip("/")), **account) + f"?virtual_host={database}"
    is_tls = found.pop("connection_class", None) is SSLConnection
    tls = {"ssl_cert_reqs": "required"} | {name: found[name] for name in found if name.startswith("ssl_")}
    # Others may use the same Redis.
    options = {"socket_keepalive": True, **found, "global_keyprefix": "switchyard:celery:"}
    return {"broker_url": place, "broker_use_ssl": tls if is_tls else None, "broker_transport_options": options}


def _application() -> Application:
    if not settings.REDIS_URL:
        raise ImproperlyConfigured(
            "workers and beat need DATABASE_URL and REDIS_URL; without them `manage.py serve` does all in one process"
        )
    tracing.check()
    application = Application("switchyard")
    application.conf.update(
        **_broker(settings.REDIS_URL),
        worker_pool="threads",
        worker_concurrency=settings.CONCURRENCY,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_ignore_result=True,
        # Else beat would have results cleaned up every night.
        result_expires=None,
        task_acks_late=True,
        task_default_queue="switchyard",
        broker_connection_retry_on_startup=True,
        # Redis may be away for as long as it likes.
        broker_connection_max_retries=None,
        beat_scheduler=LivingScheduler,
        # It shows that it is alive in between.
        beat_max_loop_interval=alive.INTERVAL,
        beat_schedule={
            "wake": {
                "task": "switchyard.wake_background",
                "schedule": settings.SWEEP_SECONDS,
                # While no worker is there, nothing piles up.
                "options": {"expires": settings.SWEEP_SECONDS},
            }
        },
    )
    application.steps["worker"].add(EngineStep)
    return application


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Django has configured it: with a receiver here Celery leaves the loggers alone."""


try:
    app = _application()
except ImproperlyConfigured as problem:
    sys.exit(f"switchyard: {problem}")


@app.task(name="switchyard.wake_background")
def wake_background() -> None:
    """Let the worker that takes this look for work in the database, as if somebody had woken it."""
    logger.debug("woken by beat")
    serving.wake_all()
