"""What a graph raises while its state is read or changed, told to the caller: it is not the server's fault."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error as DatabaseError

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.database.unavailable import DatabaseUnavailable
from platform_site.core.error_texts import error_body, repr_of, text_of
from platform_site.core.errors import ApiError, BadRequest
from platform_site.core.graphs.loading import GraphError
from platform_site.core.scope import OutOfScope

logger = logging.getLogger("switchyard.threads")

# The server raises these itself, and they have answers of their own.
_SERVERS = (ApiError, DatabaseError, DatabaseUnavailable, LeaseLost, OutOfScope)
_DRIVERS = ("psycopg", "psycopg_pool", "sqlite3")


def is_the_graphs(error: BaseException) -> bool:
    """Return whether the error comes from the project's code, or from LangGraph about it."""
    is_drivers = type(error).__module__.partition(".")[0] in _DRIVERS
    return isinstance(error, Exception) and not isinstance(error, _SERVERS) and not is_drivers


@contextmanager
def refusals(what: str = "") -> Iterator[None]:
    """Raise `BadRequest` with the reason in place of what a graph raises in this block.

    `what` says what could not be done. Without it the text of a ValueError or TypeError stands alone: LangGraph's and
    those of validation are sentences. Other texts are shown as in the error of a run, and the log has them all.
    """
    try:
        yield
    except Exception as error:
        if not is_the_graphs(error):
            raise
        if not what and _is_sentence(error):
            logger.info("a graph refused its state: %s", text_of(error))
            raise BadRequest(text_of(error)) from error
        what = what or "The graph refuses this"
        # The place in the project's code matters as well.
        logger.warning("%s: %s", what, repr_of(error), exc_info=error)
        raise BadRequest(f"{what}: {_reason(error)}") from error


def _is_sentence(error: Exception) -> bool:
    return isinstance(error, (ValueError, TypeError)) or type(error).__module__ == "langgraph.errors"


def _reason(error: Exception) -> str:
    if isinstance(error, GraphError):
        return str(error)
    told = error_body(error)
    return f"{told['error']}: {told['message']}"
