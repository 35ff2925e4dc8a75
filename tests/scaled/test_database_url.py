"""Addresses of PostgreSQL: with several hosts, socket files, options."""

import pytest

from platform_site.settings import _postgres

PASSED_ON = {
    "postgres://user:pass@db/name": ("db", "5432", {}),
    "postgresql://user:pass@db:6432/name?sslmode=require": ("db", "6432", {"sslmode": "require"}),
    "postgres://user:pass@db1:5432,db2:5433/name?target_session_attrs=read-write": (
        "db1,db2",
        "5432,5433",
        {"target_session_attrs": "read-write"},
    ),
    "postgres://user:pass@db1,db2:5433/name": ("db1,db2", "5432,5433", {}),
    "postgres://user:pass@[::1]:5433,[fe80::1]/name": ("::1,fe80::1", "5433,5432", {}),
    "postgres://user:pass@/name?host=%2Frun%2Fpostgres": ("/run/postgres", "", {}),
}


@pytest.mark.parametrize("url", list(PASSED_ON))
def test_hosts_ports_and_options_are_passed_on(url: str) -> None:
    found = _postgres(url)
    assert (found["HOST"], found["PORT"], found["OPTIONS"]) == PASSED_ON[url]
    assert (found["USER"], found["PASSWORD"], found["NAME"]) == ("user", "pass", "name")


def test_passwords_may_hold_anything() -> None:
    assert _postgres("postgres://user:p%40ss%3A%2F%3F@db/name")["PASSWORD"] == "p@ss:/?"
