"""JSON that PostgreSQL can keep: it has no NUL."""

import orjson
import pytest

from platform_site.core.database import access as database
from platform_site.core.database.access import is_storable, storable
from platform_site.core.wire import encode

WITHOUT = [{"a": "x"}, {"a": r"\u0000"}, {"a": r"\\u0000\\"}, {"a": "☃"}]


@pytest.fixture
def _postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "IS_POSTGRES", True)


@pytest.mark.usefixtures("_postgres")
@pytest.mark.parametrize("value", WITHOUT, ids=str)
def test_what_has_no_nul_stays(value: object) -> None:
    assert storable(encode(value)) == encode(value)
    assert is_storable(encode(value))


@pytest.mark.usefixtures("_postgres")
@pytest.mark.parametrize(
    ("value", "kept"),
    [("a\0b", "a\ufffdb"), ("\0\0", "\ufffd\ufffd"), ("\\\0", "\\\ufffd"), ({"k\0": ["\0"]}, {"k\ufffd": ["\ufffd"]})],
)
def test_nul_is_replaced(value: object, kept: object) -> None:
    assert orjson.loads(storable(encode(value))) == kept
    assert not is_storable(encode(value))


@pytest.mark.skipif(database.IS_POSTGRES, reason="PostgreSQL has none")
def test_sqlite_keeps_nul() -> None:
    assert is_storable(encode("a\0b"))
