"""Log lines carry the ids of the request and the run they belong to."""

import json
import logging
import sys
from contextvars import copy_context
from typing import Any

import pytest

from platform_site.core.telemetry.logs import Context, JsonFormatter, TextFormatter, request_id, run_id


def a_record(message: str = "claimed", *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "runs.engine", "levelname": "INFO", "msg": message, "args": args, **extra})
    Context().filter(record)
    return record


def as_json(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def test_json_line_has_message_level_and_logger() -> None:
    line = as_json(a_record("claimed %s of %d", "one", 2))
    assert (line["message"], line["level"], line["logger"]) == ("claimed one of 2", "info", "runs.engine")


def test_ids_of_the_context_are_on_every_record() -> None:
    def work() -> logging.LogRecord:
        run_id.set("r-1")
        request_id.set("q-1")
        return a_record()

    record = copy_context().run(work)
    line = as_json(record)
    assert (line["run_id"], line["request_id"]) == ("r-1", "q-1")
    assert TextFormatter().format(record).endswith("claimed  run=r-1  request=q-1")


def test_ids_that_are_not_set_are_left_out() -> None:
    line = as_json(a_record())
    assert "run_id" not in line
    assert "request_id" not in line


def test_what_is_given_with_the_record_replaces_none_of_the_fields_of_every_line() -> None:
    line = as_json(a_record("said", time="tea", level=3, logger=None))
    assert (line["level"], line["logger"], line["message"]) == ("info", "runs.engine", "said")
    assert line["time"] != "tea"


def test_an_id_given_with_the_record_wins() -> None:
    assert as_json(a_record(run_id="mine"))["run_id"] == "mine"


def test_extras_are_fields_of_the_json_line() -> None:
    assert as_json(a_record(attempt=2, route="/ok"))["attempt"] == 2


def test_exception_is_part_of_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = a_record(exc_info=sys.exc_info())
    assert "ValueError: broken" in as_json(record)["exception"]


@pytest.mark.parametrize("odd", ["\ud800", 2**80, {1: object()}])
def test_values_without_json_form_do_not_lose_the_line(odd: Any) -> None:
    assert as_json(a_record("kept", odd=odd))["message"] == "kept"


# Each begins a line of its own, or steers a terminal, or turns the text around, if it is written as it is.
FORGING = [
    "\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029",
    "\x00", "\x07", "\x08", "\x1b[31m", "\x1b]0;title\x07", "\x7f", "\x9b31m",
    "\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff", "\ud800", "\U000e0041",
]  # fmt: skip
FORGED = "12:00:00 error    switchyard.serving  FORGED"


def failing(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("odd", FORGING, ids=ascii)
def test_text_lines_cannot_be_forged(odd: str) -> None:
    hostile = f"a{odd}{FORGED}{odd}b"
    context = {"run_id": hostile, "request_id": hostile, "task": hostile, "name": hostile, "levelname": hostile}
    for record in (a_record(hostile), a_record("%s", hostile), a_record("said", **context, path=hostile)):
        line = TextFormatter().format(record)
        assert len(line.splitlines()) == 1
        assert odd not in line
        assert line.encode()


@pytest.mark.parametrize("odd", FORGING, ids=ascii)
def test_lines_of_an_exception_cannot_pass_for_others(odd: str) -> None:
    hostile = f"a{odd}{FORGED}"
    record = a_record("failed", exc_info=failing(hostile), stack_info=f"Stack:\n{hostile}")
    first, *others = TextFormatter().format(record).split("\n")
    assert "failed" in first
    assert all(line.startswith("    ") for line in others)
    assert all(len(line.splitlines()) == 1 for line in others)
    assert any("FORGED" in line for line in others)
    assert odd.strip("\n") == "" or all(odd not in line for line in others)


@pytest.mark.parametrize("odd", FORGING, ids=ascii)
def test_json_lines_cannot_be_forged_and_say_what_was_said(odd: str) -> None:
    hostile = f"a{odd}{FORGED}"
    record = a_record(hostile, path=hostile, **{hostile: hostile}, exc_info=failing(hostile))
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert odd not in line
    assert json.loads(line)["path"] == json.loads(line)["message"] == hostile


def test_letters_of_all_languages_stay_as_they_are() -> None:
    said = "grüße, 你好, مرحبا, שלום, नमस्ते 👩\u200d👧"
    assert said in TextFormatter().format(a_record(said))


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_arguments_that_do_not_fit_do_not_lose_the_line(formatter: logging.Formatter) -> None:
    line = formatter.format(a_record("%s of %d", "one\nFORGED"))
    assert "%s of %d" in line
    assert len(line.splitlines()) == 1
