"""The server's own OpenAPI document knows every operation and every field of the contract, or says when it will."""

import pytest

from tests.contract import due
from tests.contract.coverage import CONTRACT, Document, counted, fields, server_document

FIELDS = [field for operation in CONTRACT for field in fields(operation)]


@pytest.fixture(scope="module")
def document() -> Document:
    return server_document()


@pytest.mark.parametrize("operation", [name for name in CONTRACT if name not in due.OPERATIONS_NOT_DUE])
def test_operation_is_known(document: Document, operation: str) -> None:
    assert document.operation(operation) is not None


@pytest.mark.parametrize("operation", [name for name in CONTRACT if name not in due.OPERATIONS_NOT_DUE])
def test_fields_are_known_with_their_kinds_and_values(document: Document, operation: str) -> None:
    faults = {field: document.fault(field) for field in fields(operation) if field not in due.FIELDS_NOT_DUE}
    assert {field: fault for field, fault in faults.items() if fault is not None} == {}


@pytest.mark.parametrize("operation", [name for name in CONTRACT if name not in due.OPERATIONS_NOT_DUE])
def test_statuses_are_documented(document: Document, operation: str) -> None:
    known = document.operation(operation)
    assert known is not None
    expected = {str(status) for status in CONTRACT[operation]["status"]} - {"500"}
    assert expected - set(known["responses"]) == set()


def test_what_is_not_due_is_not_there_yet(document: Document) -> None:
    """A field may be known already if it is refused by name: `test_bad_input` asks for that."""
    assert [name for name in due.OPERATIONS_NOT_DUE if document.operation(name) is not None] == []
    known = [name for name in due.FIELDS_NOT_DUE if document.fault(name) is None]
    assert [name for name in known if name.rsplit(" ", 1)[1] not in due.REFUSED_UNTIL_DUE] == []


def test_what_is_not_due_is_part_of_the_contract() -> None:
    assert set(due.OPERATIONS_NOT_DUE) <= set(CONTRACT)
    assert set(due.FIELDS_NOT_DUE) <= set(FIELDS)
    assert [name for name in due.FIELDS_NOT_DUE if name.rsplit(" ", 2)[0] in due.OPERATIONS_NOT_DUE] == []


def test_everything_that_is_not_due_has_an_issue() -> None:
    reasons = [*due.OPERATIONS_NOT_DUE.values(), *due.FIELDS_NOT_DUE.values()]
    assert [reason for reason in reasons if not reason.startswith(("issue ", "later: "))] == []


def test_count_is_of_everything(document: Document) -> None:
    operations = len(CONTRACT) - len(due.OPERATIONS_NOT_DUE)
    later = [name for name in FIELDS if name in due.FIELDS_NOT_DUE or name.rsplit(" ", 2)[0] in due.OPERATIONS_NOT_DUE]
    served = (
        f"{operations} of the {len(CONTRACT)} operations and {len(FIELDS) - len(later)} of the {len(FIELDS)} fields"
    )
    expected = f"Switchyard serves {served} of the LangGraph Platform API"
    assert counted(document, due.FIELDS_NOT_DUE) == expected
