"""Structured logs: every line knows the request and the run it belongs to.

Lines are text on a terminal and JSON elsewhere. What a line says may come from strangers, so no character of it begins
another line, moves the cursor or reverses the text: such characters are written as escapes (`\\n`, `\\x1b`, `\\u2028`).

The ids are context variables: whoever takes up a request, a run or a round of a background task sets them, and every
record made in that context carries them, libraries' records included.
"""

import json
import logging
import logging.config
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypedDict

import orjson

request_id: ContextVar[str] = ContextVar("request_id", default="")
run_id: ContextVar[str] = ContextVar("run_id", default="")
thread_id: ContextVar[str] = ContextVar("thread_id", default="")
# Which attempt at the run; 0 outside of one.
attempt: ContextVar[int] = ContextVar("attempt", default=0)
# The background task whose round this is.
task: ContextVar[str] = ContextVar("task", default="")
# The OpenTelemetry trace, where there is one.
trace_id: ContextVar[str] = ContextVar("trace_id", default="")

_CONTEXT: dict[str, ContextVar[Any]] = {
    variable.name: variable for variable in (request_id, run_id, thread_id, attempt, task, trace_id)
}
# What every line of this process says: what it does (`role`) and its name as an owner of runs (`worker`).
_process: dict[str, str] = {}

# What every record has; anything else on it was given as `extra` and belongs into the JSON line.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


# Controls, separators of lines, marks that reverse or hide text, and surrogates, which no stream can write.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """Return the text in one line: characters that are no text are escaped as in a Python string."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _block(text: str) -> str:
    """Return lines of their own for a traceback. They are indented, so that none can pass for a line of the log."""
    return "".join(f"\n    {printable(line)}" for line in text.split("\n"))


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if ord(found[0]) > 0x9F else f"\\u{ord(found[0]):04x}"


def _message(record: logging.LogRecord) -> str:
    """Return the record's message, or its parts where a library's arguments do not fit its text."""
    try:
        return record.getMessage()
    except Exception:
        return f"{record.msg!r} {_repr(record.args)}"


def _repr(arguments: object) -> str:
    try:
        return repr(arguments)
    except Exception as error:
        return f"with arguments whose repr fails: {type(error).__name__}"


def identify(*, role: str, worker: str = "") -> None:
    """Have every JSON line of this process say which process it is, from now on."""
    _process.update({"role": role, "worker": worker})


def rename_worker(worker: str) -> None:
    """Have every JSON line of this process name this worker, from now on."""
    _process["worker"] = worker


class Context(logging.Filter):
    """Puts what the current context belongs to on the record, and what process this is."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, variable in _CONTEXT.items():
            if not hasattr(record, name):
                setattr(record, name, variable.get())
        for name, value in _process.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the ids that are set, extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for key, value in vars(record).items():
            is_empty = value is None or (isinstance(value, str) and not value) or (key == "attempt" and not value)
            if key not in _STANDARD and not is_empty:
                # A graph's `extra` may have any name; the first four fields are ours.
                line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            text = orjson.dumps(line, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:
            # What orjson has no form for (lone surrogates, huge integers) must not lose the line.
            text = json.dumps(line, default=repr, skipkeys=True)
        # JSON escapes the controls of ASCII only; the others separate lines or steer terminals as well.
        return _UNPRINTABLE.sub(_json_escape, text)


class TextFormatter(logging.Formatter):
    """For people: `12:03:44 warning  runs.engine  message  run=... request=...`, then the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%H:%M:%S")
        line = f"{time} {record.levelname.lower():<8} {record.name}  {_message(record).rstrip()}"
        for label, key in (("run", "run_id"), ("request", "request_id"), ("task", "task")):
            if value := getattr(record, key, ""):
                line += f"  {label}={value}"
        line = printable(line)
        if record.exc_info:
            line += _block(self.formatException(record.exc_info))
        if record.stack_info:
            line += _block(self.formatStack(record.stack_info))
        return line


class Options(TypedDict):
    """What settings say about logs: `LOG_LEVEL` and `LOG_FORMAT`."""

    level: str
    format: str


def configure(options: Options) -> None:
    """Send all logs of the process to stderr. Django calls it once, as its `LOGGING_CONFIG`."""
    # Warnings of graphs and libraries would otherwise be bare lines among the JSON.
    logging.captureWarnings(True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"context": {"()": Context}},
            "formatters": {"json": {"()": JsonFormatter}, "text": {"()": TextFormatter}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stderr",
                    "filters": ["context"],
                    "formatter": options["format"],
                }
            },
            "root": {"level": options["level"].upper(), "handlers": ["stderr"]},
            "loggers": {
                # Django's own handlers print in its own format: let its records go up to ours instead.
                "django": {"level": "INFO", "handlers": [], "propagate": True},
                # A refused request is the client's affair, an error in one is ours.
                "django.request": {"level": "ERROR"},
                "django.server": {"level": "WARNING", "handlers": [], "propagate": True},
                # Daphne's line per request, as `runserver` wants it, is off; `serve` says itself when it is ready.
                "django.channels.server": {"level": "WARNING"},
                "daphne": {"level": "WARNING"},
                "uvicorn": {"level": "WARNING"},
                "uvicorn.access": {"level": "CRITICAL"},
                # A worker says itself when it is ready.
                "celery.apps.worker": {"level": "WARNING"},
                "celery.worker.consumer.connection": {"level": "WARNING"},
                # Celery tells of every task three times; ours come every few seconds.
                "celery.beat": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
            },
        }
    )
