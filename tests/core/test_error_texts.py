"""What clients are told of an exception, class by class as the reference server was observed to tell it."""

import asyncio
import binascii
import concurrent.futures
import configparser
import csv
import dataclasses
import decimal
import http.client
import io
import json
import pickle
import queue
import socket
import sqlite3
import ssl
import subprocess
import urllib.error
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import langgraph.errors as langgraph
import pydantic
import pytest
from langchain_core.exceptions import ContextOverflowError, LangChainException, OutputParserException
from langchain_core.tools import ToolException
from langgraph.pregel.remote import RemoteException
from langgraph.store.base import InvalidNamespaceError
from langgraph_sdk import Auth
from langgraph_sdk.errors import LangGraphError

from platform_site.core.error_texts import MASKED_MESSAGE, error_body, full_text, repr_of, run_error, text_of
from platform_site.core.errors import BadRequest
from platform_site.core.graphs.registry import BrokenGraph
from threads.refusals import refusals

TEXT = "the text"
REQUEST = httpx.Request("GET", "http://model.example/v1")


class Own(Exception):
    pass


class OwnValue(ValueError):
    pass


class OwnAttribute(AttributeError):
    pass


class OwnLookup(LookupError):
    pass


class OwnMixed(Own, ValueError):
    pass


class WithDetail(Exception):
    status_code = 418
    detail = "the detail"


class ClientError(Exception):
    """Shaped as the errors of clients of models are: of a package, with more than a text."""

    __module__ = "some_client"

    def __init__(self, message: str, *, response: Any = None, body: Any = None) -> None:
        super().__init__(message)
        self.response, self.body = response, body


class HTTPException(Exception):
    __module__ = "starlette.exceptions"


class OwnHTTPException(HTTPException):
    pass


class NoText(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Model(pydantic.BaseModel):
    number: int


def caught(raises: Callable[[], Any]) -> BaseException:
    """The exception that a call raises."""
    try:
        raises()
    except BaseException as error:
        return error
    raise AssertionError("it raises nothing")


SHOWN = [
    ValueError(TEXT),
    RuntimeError(TEXT),
    TypeError(TEXT),
    AttributeError(TEXT),
    TimeoutError(TEXT),
    NotImplementedError(TEXT),
    RecursionError(TEXT),
    OwnValue(TEXT),
    OwnAttribute(TEXT),
    OwnMixed(TEXT),
    InvalidNamespaceError(TEXT),
    concurrent.futures.BrokenExecutor(TEXT),
    dataclasses.FrozenInstanceError(TEXT),
    io.UnsupportedOperation(TEXT),
    binascii.Error(TEXT),
    HTTPException(TEXT),
    OwnHTTPException(TEXT),
    langgraph.InvalidUpdateError(TEXT),
    langgraph.EmptyInputError(TEXT),
    langgraph.GraphRecursionError(TEXT),
    langgraph.GraphBubbleUp(TEXT),
    langgraph.TaskNotFound(TEXT),
]
SHOWN_AS = [
    (KeyError("name"), "'name'"),
    (ValueError(), ""),
    (ValueError("a", 2), "('a', 2)"),
    (ValueError({"a": 1}), "{'a': 1}"),
    (caught(lambda: None.name), "'NoneType' object has no attribute 'name'"),  # type: ignore[attr-defined]
    (caught(lambda: json.loads("{")), "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    (caught(lambda: "é".encode("ascii")), "'ascii' codec can't encode character '\\xe9' in position 0: "
     "ordinal not in range(128)"),
]  # fmt: skip
MASKED = [
    Exception(TEXT),
    Exception(),
    ArithmeticError(TEXT),
    AssertionError(TEXT),
    BufferError(TEXT),
    EOFError(TEXT),
    ImportError(TEXT),
    ModuleNotFoundError(TEXT),
    LookupError(TEXT),
    IndexError(TEXT),
    MemoryError(TEXT),
    NameError(TEXT),
    UnboundLocalError(TEXT),
    OSError(TEXT),
    FileNotFoundError(TEXT),
    PermissionError(TEXT),
    ConnectionError(TEXT),
    ReferenceError(TEXT),
    SyntaxError(TEXT),
    SystemError(TEXT),
    Warning(TEXT),
    UserWarning(TEXT),
    OverflowError(TEXT),
    ZeroDivisionError(TEXT),
    Own(TEXT),
    OwnLookup(TEXT),
    WithDetail(TEXT),
    ClientError(TEXT, body={"key": TEXT}),
    httpx.ConnectError(TEXT, request=REQUEST),
    httpx.ReadTimeout(TEXT, request=REQUEST),
    httpx.HTTPStatusError(TEXT, request=REQUEST, response=httpx.Response(401, request=REQUEST)),
    httpx.InvalidURL(TEXT),
    subprocess.CalledProcessError(2, [TEXT]),
    subprocess.TimeoutExpired(TEXT, 3),
    sqlite3.OperationalError(TEXT),
    socket.gaierror(TEXT),
    ssl.SSLError(TEXT),
    decimal.InvalidOperation(TEXT),
    urllib.error.URLError(TEXT),
    zlib.error(TEXT),
    csv.Error(TEXT),
    queue.Empty(TEXT),
    pickle.PicklingError(TEXT),
    asyncio.InvalidStateError(TEXT),
    http.client.BadStatusLine(TEXT),
    zipfile.BadZipFile(TEXT),
    configparser.NoSectionError(TEXT),
    LangChainException(TEXT),
    ContextOverflowError(TEXT),
    ToolException(TEXT),
    RemoteException(TEXT),
    LangGraphError(TEXT),
    Auth.exceptions.HTTPException(status_code=403, detail=TEXT),
]


def name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__name__}"


@pytest.mark.parametrize("error", SHOWN, ids=name)
def test_the_text_is_shown_of(error: BaseException) -> None:
    assert run_error(error) == {"error": type(error).__name__, "message": TEXT}


@pytest.mark.parametrize(("error", "message"), SHOWN_AS, ids=str)
def test_the_text_is_shown_as_python_writes_it(error: BaseException, message: str) -> None:
    assert run_error(error) == {"error": type(error).__name__, "message": message}


@pytest.mark.parametrize("error", MASKED, ids=name)
def test_the_text_is_masked_of(error: BaseException) -> None:
    assert run_error(error) == {"error": type(error).__name__, "message": MASKED_MESSAGE}


def test_validation_errors_and_parser_errors_are_shown_whole() -> None:
    refused = caught(lambda: Model(number="x"))
    assert run_error(refused) == {"error": "ValidationError", "message": str(refused)}
    assert TEXT in run_error(OutputParserException(TEXT))["message"]


def test_a_node_that_took_too_long_is_told_by_langgraphs_own_sentence() -> None:
    # The reference masks it, though it holds no more than a node's name and two durations.
    error = langgraph.NodeTimeoutError("search", 2.0, kind="run", run_timeout=1.0)
    assert "search" in run_error(error)["message"]


def test_the_cause_of_an_exception_does_not_decide() -> None:
    def raises(error: Exception, cause: Exception) -> None:
        raise error from cause

    assert run_error(caught(lambda: raises(ValueError("outer"), Own("inner"))))["message"] == "outer"
    assert run_error(caught(lambda: raises(Own("outer"), ValueError("inner"))))["message"] == MASKED_MESSAGE


def test_an_exception_without_a_text_is_told_all_the_same() -> None:
    assert error_body(NoText()) == {"error": "NoText", "message": text_of(NoText())}
    assert "its __str__ raised RuntimeError" in text_of(NoText())


# --- exception groups ------------------------------------------------------------------------------

GROUP = ExceptionGroup("group", [ExceptionGroup("inner", [ValueError("one"), KeyError("two")]), Own("three")])


def test_a_run_that_a_group_ended_has_its_first_innermost_error() -> None:
    assert run_error(GROUP) == {"error": "ValueError", "message": "one"}
    assert run_error(ExceptionGroup("group", [Own("secret"), ValueError("x")]))["message"] == MASKED_MESSAGE


def test_a_group_as_a_value_stays_a_group() -> None:
    assert error_body(GROUP) == {"error": "ExceptionGroup", "message": MASKED_MESSAGE}


def test_operators_read_all_innermost_errors() -> None:
    assert full_text(GROUP).endswith(": ValueError: one; KeyError: 'two'; Own: three")


def test_a_large_group_is_told_by_its_first_errors() -> None:
    text = full_text(ExceptionGroup("group", [ValueError(number) for number in range(500)]))
    assert "ValueError: 9; and 490 more" in text


def test_a_group_of_any_depth_is_told_by_its_innermost_error() -> None:
    error: Exception = ValueError("leaf")
    for _ in range(3000):
        error = ExceptionGroup("group", [error])
    assert run_error(error) == {"error": "ValueError", "message": "leaf"}


class Mute(ValueError):
    """Neither `str` nor `repr` can be made of it."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_an_error_whose_repr_fails_is_told_by_its_class() -> None:
    assert repr_of(Mute()).startswith("Mute('The text of this exception cannot be made")


def test_a_state_refused_with_an_error_that_has_no_text_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="cannot be made"), refusals():
        raise Mute
    with pytest.raises(BadRequest, match=r"Opening: Mute: .*cannot be made"), refusals("Opening"):
        raise Mute


# --- errors of the server --------------------------------------------------------------------------


def test_a_refusal_of_the_server_is_shown() -> None:
    assert run_error(BadRequest("too many")) == {"error": "BadRequest", "message": "too many"}


@pytest.mark.parametrize(("auth", "is_told"), [("open", True), ("keys", False), ("handler", False)])
def test_the_reason_of_a_broken_graph_is_shown_in_open_mode_only(settings: Any, auth: str, is_told: bool) -> None:
    settings.AUTH = auth
    message = run_error(BrokenGraph("agent", "cannot connect to postgres://app:secret@db"))["message"]
    assert message.startswith("Graph 'agent' could not be loaded")
    assert ("secret" in message) is is_told
