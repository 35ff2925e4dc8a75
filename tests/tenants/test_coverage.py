"""No operation is served that the tests of tenants and readers do not know."""

from tests.contract.coverage import server_document
from tests.contract.operations import OPERATIONS
from tests.tenants import test_readers
from tests.tenants.attack import operation_name
from tests.tenants.coverage import COVERED, Kind


def test_every_operation_has_a_row() -> None:
    paths = server_document().content["paths"]
    assert {f"{method.upper()} {path}" for path in paths for method in paths[path]} == set(COVERED)


def test_every_operation_of_tenants_is_attacked() -> None:
    attacked = {operation_name(operation) for operation in OPERATIONS}
    assert attacked == {operation for operation, kind in COVERED.items() if kind is not Kind.PUBLIC}


def test_every_operation_of_tenants_is_called_by_readers() -> None:
    called = {operation_name(operation) for operation in (*test_readers.READING, *test_readers.WRITING)}
    assert called == {operation for operation, kind in COVERED.items() if kind is not Kind.PUBLIC}


def test_what_reads_says_so_by_its_method_or_its_row() -> None:
    assert [name for name, kind in COVERED.items() if name.startswith("GET ") and kind is Kind.WRITES] == []
