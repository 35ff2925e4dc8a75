"""Every kind of value that a node can return: shown the same everywhere, and of its own type when it comes back.

`project/value_rows.py` is the table.
"""

from typing import Any

import pytest

from tests.values.observing import PLACES, PLACES_LATER, PLACES_OF_REFUSED, Seen
from tests.values.project.value_row import Row
from tests.values.project.value_rows import ROWS

KEPT = [row for row in ROWS.values() if not row.is_refused]
REFUSED = [row for row in ROWS.values() if row.is_refused]


def strict(value: Any) -> Any:
    """The value, with booleans told from numbers."""
    if isinstance(value, dict):
        return {key: strict(member) for key, member in value.items()}
    if isinstance(value, list):
        return [strict(member) for member in value]
    return f"a boolean: {value}" if isinstance(value, bool) else value


def places_of(row: Row) -> list[str]:
    return [place for place in PLACES if place != "store" or row.is_stored]


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.name)
def test_is_shown_the_same_everywhere(row: Row, seen: dict[str, Seen], server_mode: str) -> None:
    assert seen[row.name].error is None
    shown = row.shown
    if isinstance(shown, str) and server_mode == "scaled":
        shown = shown.replace("\0", "\ufffd")
    expected = dict.fromkeys(places_of(row), shown)
    if row.shown_later is not None:
        expected |= dict.fromkeys(PLACES_LATER, row.shown_later)
    assert strict(seen[row.name].shown) == strict(expected)


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.name)
def test_is_read_again_byte_for_byte(row: Row, seen: dict[str, Seen]) -> None:
    assert seen[row.name].same_again


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.name)
def test_has_its_type_in_the_next_run(row: Row, seen: dict[str, Seen]) -> None:
    assert seen[row.name].again is not None
    found, expected = seen[row.name].again or ("", "")
    assert found == expected


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.name)
def test_has_its_type_after_an_answer(row: Row, seen: dict[str, Seen]) -> None:
    assert seen[row.name].resumed is not None
    found, expected = seen[row.name].resumed or ("", "")
    assert found == expected


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_what_no_checkpoint_holds_fails_the_run(row: Row, seen: dict[str, Seen]) -> None:
    error = seen[row.name].error
    assert error is not None
    assert "slot0" in error["message"]
    assert "produce" in error["message"]
    shown = {place: strict(seen[row.name].shown[place]) for place in PLACES_OF_REFUSED}
    assert shown == dict.fromkeys(PLACES_OF_REFUSED, strict(row.shown))
