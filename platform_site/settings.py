"""Settings of the Switchyard project: one file, everything from the environment.

A wrong value stops the start with a sentence that names the variable and what was expected.
"""

import os
import re
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from platform_site.core.database import data_directory
from platform_site.core.environment import env, env_bool, env_choice, env_int, env_memory, env_number, env_port
from platform_site.core.telemetry.process_memory import memory_limit

# Checkpoints are unpacked with an allowlist of types; LangGraph reads this when it is first imported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")


BASE_DIR = Path(__file__).resolve().parent.parent

# --- Serving -------------------------------------------------------------------------------------
# Address and port that `serve` listens on.
HOST = env("HOST", "127.0.0.1")
PORT = env_port("PORT", 2024)
# Path of the user's langgraph.json; empty serves the sample graphs. A JSON object in its place is no path, but the
# configs of default assistants, as LangGraph's own servers read this variable; LANGGRAPH_CONFIG_PATH is then the path.
LANGGRAPH_CONFIG = env("LANGGRAPH_CONFIG")
ASSISTANT_CONFIGS = LANGGRAPH_CONFIG if LANGGRAPH_CONFIG.startswith("{") else ""
LANGGRAPH_CONFIG = env("LANGGRAPH_CONFIG_PATH") or ("" if ASSISTANT_CONFIGS else LANGGRAPH_CONFIG)


def _data_dir() -> Path:
    """Return DATA_DIR; without it, `.switchyard` beside the langgraph.json, or in the working directory."""
    if given := env("DATA_DIR"):
        return Path(given).absolute()
    config = Path(LANGGRAPH_CONFIG).absolute()
    if LANGGRAPH_CONFIG and not config.is_file():
        raise ImproperlyConfigured(f"{config}: there is no such file; expected the path of a langgraph.json")
    return (config.parent if LANGGRAPH_CONFIG else config) / ".switchyard"


# Where everything that Switchyard keeps on disk lives: databases, secret key, lock file.
DATA_DIR = _data_dir()
# Who may call: open (loopback only, no credentials), keys (API keys), handler (langgraph.json auth.path).
IS_LOOPBACK = HOST in ("127.0.0.1", "::1", "localhost")
AUTH = env_choice("AUTH", "open" if IS_LOOPBACK else "keys", ("open", "keys", "handler"))
# Debug pages; never on in production.
DEBUG = env_bool("DEBUG", False)
# Names under which pages are served, comma separated; the API checks its own hosts in open mode.
ALLOWED_HOSTS = [host for host in env("ALLOWED_HOSTS", "*").split(",") if host]
# A reverse proxy in front speaks TLS: its X-Forwarded-Proto is believed, and cookies are for HTTPS only.
BEHIND_TLS_PROXY = env_bool("BEHIND_TLS_PROXY", False)
# Largest request body in bytes.
MAX_BODY_BYTES = env_int("MAX_BODY_BYTES", 25_000_000, 1)
# Largest body that a form of the dashboard or the admin may send, in bytes.
MAX_PAGE_BODY_BYTES = env_int("MAX_PAGE_BODY_BYTES", 1_000_000, 1)
# Largest header of a request in bytes, its first line included, and the most fields it may have.
MAX_HEADER_BYTES = env_int("MAX_HEADER_BYTES", 65_536, 1024)
MAX_HEADER_FIELDS = env_int("MAX_HEADER_FIELDS", 100, 10)
# Seconds in which the header of a request must be complete.
HEADER_TIMEOUT_SECONDS = env_number("HEADER_TIMEOUT_SECONDS", 10, 0.1)
# Seconds a body may stand still while the server waits for it, and bytes a second that it must bring in that time.
BODY_TIMEOUT_SECONDS = env_number("BODY_TIMEOUT_SECONDS", 30, 0.1)
BODY_BYTES_PER_SECOND = env_number("BODY_BYTES_PER_SECOND", 1000)
# Seconds an idle connection is kept for the next request; longer than common clients keep theirs.
KEEP_ALIVE_SECONDS = env_number("KEEP_ALIVE_SECONDS", 75, 0.1)
# Seconds that an answer may wait for a client that reads nothing of it; then the connection ends.
UNREAD_TIMEOUT_SECONDS = env_number("UNREAD_TIMEOUT_SECONDS", 300, 0.1)
# Connections that one process serves at the same time.
MAX_CONNECTIONS = env_int("MAX_CONNECTIONS", 10_000, 1)
# Those of one address, of IPv6 one /64 network; 0 for no limit, as where all come from this machine or from a proxy.
MAX_CONNECTIONS_PER_ADDRESS = env_int("MAX_CONNECTIONS_PER_ADDRESS", 0 if IS_LOOPBACK or BEHIND_TLS_PROXY else 1000)

# Whether `checkpointer.serde.pickle_fallback` of langgraph.json has its effect. Who can write to the database can then
# run code in the server.
ALLOW_PICKLE = env_bool("ALLOW_PICKLE", False)

# --- Limits; 0 is none ---------------------------------------------------------------------------
# Most bytes of a state, packed: what a checkpoint holds, and what one node returns. A run that exceeds them fails.
MAX_STATE_BYTES = env_int("MAX_STATE_BYTES", 64_000_000)
# Bytes after which a page of a history or a search ends early.
MAX_ANSWER_BYTES = env_int("MAX_ANSWER_BYTES", 64_000_000)
# Bytes in which a process keeps encoded states for the next time that they are read; 0 keeps none.
STATE_CACHE_BYTES = env_memory("STATE_CACHE_BYTES", min(64_000_000, memory_limit() // 64))
# Most runs of a workspace that wait for their turn, delayed ones included.
MAX_PENDING_RUNS = env_int("MAX_PENDING_RUNS", 10_000)
# Most crons and threads of a workspace.
MAX_CRONS = env_int("MAX_CRONS", 10_000)
MAX_THREADS = env_int("MAX_THREADS", 0)
# Free bytes of the disk with DATA_DIR below which nothing new is accepted, where the database is there.
MIN_FREE_DISK_BYTES = env_int("MIN_FREE_DISK_BYTES", 200_000_000)

# --- Engine --------------------------------------------------------------------------------------
# Seconds a process keeps its runs without a heartbeat, and how often the heartbeat is written.
LEASE_SECONDS = env_number("LEASE_SECONDS", 30, 1)
HEARTBEAT_SECONDS = env_number("HEARTBEAT_SECONDS", 5, 0.1)
if HEARTBEAT_SECONDS > LEASE_SECONDS / 2:
    raise ImproperlyConfigured(
        f"HEARTBEAT_SECONDS ({HEARTBEAT_SECONDS:g}) must be at most half of LEASE_SECONDS ({LEASE_SECONDS:g}): "
        "others would take the runs of a process that is well"
    )
# Seconds a statement waits on PostgreSQL for a lock that another session holds.
LOCK_TIMEOUT_SECONDS = env_number("LOCK_TIMEOUT_SECONDS", min(5, LEASE_SECONDS / 3), 0.01)
if LOCK_TIMEOUT_SECONDS > LEASE_SECONDS / 2:
    raise ImproperlyConfigured(
        f"LOCK_TIMEOUT_SECONDS ({LOCK_TIMEOUT_SECONDS:g}) must be at most half of LEASE_SECONDS ({LEASE_SECONDS:g}): "
        "a locked row of a worker would hold up the heartbeat that keeps its runs alive"
    )
# How often silent workers and lost wake-ups are looked for, in seconds.
SWEEP_SECONDS = env_number("SWEEP_SECONDS", 10, 0.1)
# How long running work may go on after SIGTERM, in seconds.
DRAIN_SECONDS = env_number("DRAIN_SECONDS", 30)
# How many attempts a run has before it ends with `error`.
MAX_ATTEMPTS = env_int("MAX_ATTEMPTS", 3, 1)
# Longest time a run may take, in seconds, before it ends with `timeout`.
RUN_TIME_LIMIT_SECONDS = env_number("RUN_TIME_LIMIT_SECONDS", 3600, 0.1)
# Seconds that a run may go on after it was to end, before others may use its slot.
STOP_GRACE_SECONDS = env_number("STOP_GRACE_SECONDS", 30)
# Most supersteps of a run: a larger `recursion_limit` is refused, a run without one has at most so many.
RECURSION_LIMIT_MAX = env_int("RECURSION_LIMIT_MAX", 10_000, 1)
# LangGraph reads this when it is first imported: how many a run has for which nobody gives a number.
os.environ.setdefault("LANGGRAPH_DEFAULT_RECURSION_LIMIT", str(min(10_000, RECURSION_LIMIT_MAX)))
# Runs that one process executes at the same time.
CONCURRENCY = env_int("CONCURRENCY", 500, 1)
# File that workers and beat touch every few seconds while they are well, for health checks; empty for none.
ALIVE_FILE = env("ALIVE_FILE")
# Seconds a crash-recovered run must live before the next one is taken up beside it.
RECOVERY_PROBATION_SECONDS = env_number("RECOVERY_PROBATION_SECONDS", 30)
# Seconds the events of a finished run can still be read, ordinary and `stream_resumable`.
EVENT_TTL_SECONDS = env_number("EVENT_TTL_SECONDS", 120)
EVENT_TTL_RESUMABLE_SECONDS = env_number("EVENT_TTL_RESUMABLE_SECONDS", 3600)
# Most bytes of events kept for one run; older ones are dropped first.
EVENT_LOG_MAX_BYTES = env_int("EVENT_LOG_MAX_BYTES", 32_000_000, 1)
# Most bytes of memory for the events of all runs in one process; with REDIS_URL those on their way to and from Redis.
EVENT_MEMORY_BYTES = env_memory("EVENT_MEMORY_BYTES", min(memory_limit() // 16, 128_000_000), 1_000_000)
# Most bytes that the events of all runs take in Redis, at most half of its maxmemory; the oldest runs go first.
EVENT_REDIS_BYTES = env_int("EVENT_REDIS_BYTES", 512_000_000, 1_000_000)
# Days that spans of finished runs are kept.
SPAN_RETENTION_DAYS = env_number("SPAN_RETENTION_DAYS", 14)
# Days that the figures of the overview are kept; its longest range needs a week.
STATISTICS_RETENTION_DAYS = env_number("STATISTICS_RETENTION_DAYS", 90, 8)
# Seconds of silence after which streams send a heartbeat.
STREAM_HEARTBEAT_SECONDS = env_number("STREAM_HEARTBEAT_SECONDS", 5, 0.01)
# Seconds by which a due time of a cron may be late and still count as on time.
CRON_GRACE_SECONDS = env_number("CRON_GRACE_SECONDS", 10)
# Days that the history of crons is kept, and how many due times of one cron at most.
CRON_TICK_RETENTION_DAYS = env_number("CRON_TICK_RETENTION_DAYS", 30)
CRON_TICKS_KEPT = env_int("CRON_TICKS_KEPT", 10_000, 1)

# --- Webhooks ------------------------------------------------------------------------------------
# The section `webhooks` of langgraph.json as a JSON object, in place of the file's.
LANGGRAPH_WEBHOOKS = env("LANGGRAPH_WEBHOOKS")
# Address at which every process reaches a web process, for webhooks that are paths: `http://web:2024`. Scale mode needs
# it for such webhooks; one process calls itself.
WEB_URL = env("WEB_URL").rstrip("/")
if WEB_URL and not re.fullmatch(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[\w./~-]*)?", WEB_URL, re.ASCII):
    # Not repeated: it may hold a password.
    raise ImproperlyConfigured("WEB_URL must be http:// or https://, a host, and if need be a port and a path")
# Secrets that sign webhooks, `whsec_...`, separated by spaces or commas: all sign. Empty: one is made per workspace.
WEBHOOK_SECRETS = env("WEBHOOK_SECRETS").replace(",", " ").split()
for _secret in WEBHOOK_SECRETS:
    if not re.fullmatch(r"whsec_(?:[A-Za-z0-9+/]{4}){8,21}(?:[A-Za-z0-9+/]{2,3}={0,2})?", _secret):
        raise ImproperlyConfigured("WEBHOOK_SECRETS must be `whsec_` and 24 to 64 bytes in base64, each of them")
# Hosts and networks that webhooks may reach although they are private, comma separated: `hooks.internal, 10.1.0.0/16`.
WEBHOOK_PRIVATE_ALLOWED = [entry.strip() for entry in env("WEBHOOK_PRIVATE_ALLOWED").split(",") if entry.strip()]
# Longest time of one webhook request in seconds, and how many are under way at the same time.
WEBHOOK_TIMEOUT_SECONDS = env_number("WEBHOOK_TIMEOUT_SECONDS", 15, 0.1)
WEBHOOK_CONCURRENCY = env_int("WEBHOOK_CONCURRENCY", 32, 1)
# Hours for which a webhook that fails is sent again, and pause before the first repetition in seconds.
WEBHOOK_RETRY_HOURS = env_number("WEBHOOK_RETRY_HOURS", 24)
WEBHOOK_FIRST_RETRY_SECONDS = env_number("WEBHOOK_FIRST_RETRY_SECONDS", 5, 0.01)
# Webhooks to one address that are given up in a row until the address is disabled; 0 never disables.
WEBHOOK_DISABLE_AFTER = env_int("WEBHOOK_DISABLE_AFTER", 5)
# Days that webhooks and their attempts are kept.
WEBHOOK_RETENTION_DAYS = env_number("WEBHOOK_RETENTION_DAYS", 30)

# --- Data ----------------------------------------------------------------------------------------
# postgres://user:password@host:port/name; empty uses SQLite files in DATA_DIR.
DATABASE_URL = env("DATABASE_URL")
# Together with DATABASE_URL: scale mode.
REDIS_URL = env("REDIS_URL")
if REDIS_URL and not DATABASE_URL:
    raise ImproperlyConfigured("REDIS_URL needs DATABASE_URL: scale mode keeps its data in PostgreSQL, not SQLite")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL must begin with redis://, rediss:// (TLS) or unix://")


def _postgres(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured(
            f"DATABASE_URL must begin with postgres:// or postgresql://, not {parts.scheme or 'nothing'}://"
        )
    netloc = parts.netloc.rpartition("@")
    user, _, password = netloc[0].partition(":")
    hosts, ports = [], []
    for place in filter(None, netloc[2].split(",")):
        host, _, port = place.rpartition(":") if ":" in place and not place.endswith("]") else (place, "", "")
        hosts.append(unquote(host).strip("[]"))
        ports.append(port or "5432")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(user),
        "PASSWORD": unquote(password),
        "HOST": options.pop("host", ",".join(hosts)),
        "PORT": options.pop("port", ",".join(ports)),
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
    }


def _sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATA_DIR / "switchyard.sqlite3"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
                "PRAGMA mmap_size=134217728;PRAGMA cache_size=-20000;PRAGMA foreign_keys=ON;"
            ),
        },
    }


def _limited(database: dict[str, Any]) -> dict[str, Any]:
    """Give every session a name and a limit to its waits; LangGraph's savers and stores copy these options."""
    options = database["OPTIONS"]
    lock_timeout = f"-c lock_timeout={round(LOCK_TIMEOUT_SECONDS * 1000)}"
    named = {"application_name": "switchyard", **options, "options": f"{options.get('options', '')} {lock_timeout}"}
    return {**database, "OPTIONS": named}


DATABASES = {"default": _limited(_postgres(DATABASE_URL)) if DATABASE_URL else _sqlite()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _secret_key() -> str:
    """The key from the environment, else the one made on first start in the data directory."""
    if key := env("SECRET_KEY"):
        return key
    if REDIS_URL:
        raise ImproperlyConfigured("SECRET_KEY must be set in scale mode: every process needs the same one")
    try:
        return _kept_secret_key(DATA_DIR / "secret_key")
    except OSError as error:
        raise ImproperlyConfigured(
            f"cannot use the data directory {DATA_DIR} ({error}); name another one in DATA_DIR"
        ) from None


def _kept_secret_key(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    data_directory.make(path.parent)
    # Another process that starts now may be faster.
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


SECRET_KEY = _secret_key()

# --- Logs ----------------------------------------------------------------------------------------
# Lowest level that is written: debug, info, warning, error.
LOG_LEVEL = env_choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error"))
# One JSON object a line, or text for people; on a terminal text is the default.
LOG_FORMAT = env_choice("LOG_FORMAT", "text" if sys.stderr.isatty() else "json", ("json", "text"))
# One line for each request of the API at the level info; without it at debug.
LOG_REQUESTS = env_bool("LOG_REQUESTS", False)
LOGGING_CONFIG = "platform_site.core.telemetry.logs.configure"
LOGGING = {"level": LOG_LEVEL, "format": LOG_FORMAT}

# --- Monitoring ----------------------------------------------------------------------------------
# A span for each request of the API, where the OTEL_* variables ask for traces; runs have theirs anyway.
TRACE_REQUESTS = env_bool("TRACE_REQUESTS", False)
# Port on which a worker serves its metrics, and the address; 0 serves none.
WORKER_METRICS_PORT = env_port("WORKER_METRICS_PORT", 0)
WORKER_METRICS_HOST = env("WORKER_METRICS_HOST", "127.0.0.1")
# Seconds in which the database and Redis must answer `/ok?check_db=1`.
HEALTH_TIMEOUT_SECONDS = env_number("HEALTH_TIMEOUT_SECONDS", 3, 0.1)

# --- Django --------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # First, so that its runserver (Daphne) stands before the one of staticfiles.
    "platform_site",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials.apps.SimpleAppConfig",
    "csp",
    "ninja",
    "platform_site.access",
    "platform_site.console",
    "platform_site.system",
    "threads",
    "assistants",
    "runs",
    "platform_site.webhooks",
    "crons",
    "store",
]
AUTH_USER_MODEL = "auth.User"
MIDDLEWARE = [
    # Pages only: API requests go through platform_site.core.http.handler and never meet these.
    "platform_site.console.middleware.page_request",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "platform_site.console.middleware.DatabaseOutages",
]
ROOT_URLCONF = "platform_site.urls"
ASGI_APPLICATION = "platform_site.asgi.application"
LOGIN_URL = "sign_in"
CSRF_FAILURE_VIEW = "platform_site.console.pages.bad_csrf"
LOGIN_REDIRECT_URL = "overview"
X_FRAME_OPTIONS = "DENY"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS_PROXY else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS_PROXY
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SAMESITE = "Lax"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [
                        (
                            "django.template.loaders.cached.Loader",
                            [
                                "django.template.loaders.filesystem.Loader",
                                "django.template.loaders.app_directories.Loader",
                            ],
                        )
                    ],
                )
            ],
            "builtins": ["template_partials.templatetags.partials"],
        },
    },
]
# The door of the pages has the limit: what it lets in stays in memory and is never written to a temporary file.
DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_UPLOAD_MAX_MEMORY_SIZE = MAX_PAGE_BODY_BYTES
LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Static files are served from where packages keep them: nothing has to be collected first.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
