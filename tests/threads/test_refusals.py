"""What a caller is told of a state that its graph refuses."""

import pytest
from langgraph.errors import InvalidUpdateError
from langgraph.pregel.remote import RemoteException

from platform_site.core.errors import BadRequest
from threads.refusals import refusals


@pytest.mark.parametrize("error", [ValueError("no"), TypeError("no"), InvalidUpdateError("no")])
def test_a_sentence_of_validation_stands_alone(error: Exception) -> None:
    with pytest.raises(BadRequest, match=r"^no$"), refusals():
        raise error


def test_what_another_server_has_said_is_masked_as_in_a_run() -> None:
    with (
        pytest.raises(BadRequest, match=r"^The graph refuses this: RemoteException: An internal error occurred$"),
        refusals(),
    ):
        raise RemoteException("postgres://ada:secret@db")
