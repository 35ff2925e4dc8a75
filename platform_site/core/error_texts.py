"""What clients are told of an exception. The log, the dashboard and the state's tasks have the whole text.

Which messages are masked follows the reference, observed class by class: `tests/core/test_error_texts.py` is the
table. A message is shown if a base class of the exception is listed here. Others are masked, because they may hold
connection strings, addresses or keys.
"""

from django.conf import settings

from platform_site.core.errors import ApiError

MASKED_MESSAGE = "An internal error occurred"
_SHOWN = (ValueError, RuntimeError, KeyError, TypeError, AttributeError, TimeoutError)
# LangGraph's own sentences. By name, because LangGraph takes a second to import.
_SHOWN_OF_LANGGRAPH = {
    "EmptyInputError",
    "GraphBubbleUp",
    "InvalidUpdateError",
    "NodeCancelledError",
    "NodeTimeoutError",
    "TaskNotFound",
    "UnknownInterruptError",
}
# HTTP errors that a graph raises in order to be read.
_SHOWN_OF_STARLETTE = {"HTTPException"}
# Innermost errors of a group that are told one by one: more than anybody reads.
MOST_CAUSES = 10


def storable_text(text: str) -> str:
    """Return what a text column can hold: PostgreSQL has no NUL, and neither database has lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def error_body(error: BaseException) -> dict[str, str]:
    """Return `{"error", "message"}` of an exception for clients; the message is masked if it may hold secrets."""
    return {"error": type(error).__name__, "message": _message(error)}


def run_error(error: BaseException) -> dict[str, str]:
    """Return the error of a run that an exception ended: of an exception group its first innermost error."""
    return error_body(innermost(error)[0])


def innermost(error: BaseException) -> list[BaseException]:
    """Return the exceptions in an exception group, however deep the groups are nested; else the exception itself."""
    leaves, waiting = [], [error]
    while waiting:
        next_one = waiting.pop()
        if isinstance(next_one, BaseExceptionGroup):
            waiting.extend(reversed(next_one.exceptions))
        else:
            leaves.append(next_one)
    return leaves


def text_of(error: BaseException) -> str:
    """Return the exception's own text, or a sentence if its `__str__` fails."""
    try:
        return str(error)
    except Exception as failure:
        return f"The text of this exception cannot be made: its __str__ raised {type(failure).__name__}"


def repr_of(error: BaseException) -> str:
    """Return the exception as code, or its class and text if its `__repr__` fails."""
    try:
        return repr(error)
    except Exception:
        return f"{type(error).__name__}({text_of(error)!r})"


def full_text(error: BaseException) -> str:
    """Return the text for operators. An exception group is followed by its innermost errors, with their classes."""
    if not isinstance(error, BaseExceptionGroup):
        return text_of(error)
    causes = innermost(error)
    told = [f"{type(cause).__name__}: {text_of(cause)}" for cause in causes[:MOST_CAUSES]]
    if len(causes) > MOST_CAUSES:
        told.append(f"and {len(causes) - MOST_CAUSES} more")
    return f"{text_of(error)}: {'; '.join(told)}"


def _message(error: BaseException) -> str:
    if isinstance(error, ApiError):
        # In open mode every caller is an admin.
        return error.detail_for(is_admin=settings.AUTH == "open")
    return text_of(error) if _is_shown(error) else MASKED_MESSAGE


def _is_shown(error: BaseException) -> bool:
    if isinstance(error, _SHOWN):
        return True
    bases = {(base.__module__, base.__name__) for base in type(error).__mro__}
    return any(
        (module == "langgraph.errors" and name in _SHOWN_OF_LANGGRAPH)
        or (module == "starlette.exceptions" and name in _SHOWN_OF_STARLETTE)
        for module, name in bases
    )
