"""Which request headers go into a run's configuration and into the log."""

from typing import Any

import pytest

from platform_site.core.http.request_headers import HeaderFilter
from platform_site.core.project.sections import HeaderChoice

SENT = [
    (b"X-User", b"ada"),
    (b"x-team-id", b"7"),
    (b"User-Agent", b"test"),
    (b"Authorization", b"Bearer secret"),
    (b"x-api-key", b"secret"),
]


def names(choice: dict[str, Any] | None, **options: bool) -> set[str]:
    section = None if choice is None else HeaderChoice.model_validate(choice)
    return set(HeaderFilter(section, **options).taken(SENT))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, set()),
        ({}, set()),
        ({"includes": []}, set()),
        ({"includes": ["x-user"]}, {"x-user"}),
        ({"includes": ["X-*"]}, {"x-user", "x-team-id"}),
        ({"include": ["x-*"], "exclude": ["*-id"]}, {"x-user"}),
        ({"includes": ["*"]}, {"x-user", "x-team-id", "user-agent"}),
        ({"includes": ["*"], "excludes": ["*"]}, set()),
        ({"includes": ["authorization"]}, {"authorization"}),
        ({"includes": ["x-*", "x-api-key"]}, {"x-user", "x-team-id", "x-api-key"}),
        ({"includes": ["authorization"], "excludes": ["auth*"]}, set()),
        ({"includes": ["x.user", "x-(user|team)"]}, set()),
        ({"excludes": ["x-*"]}, set()),
    ],
)
def test_only_what_is_included_and_not_excluded(choice: dict[str, Any] | None, expected: set[str]) -> None:
    assert names(choice) == expected


def test_excludes_alone_may_stand_for_all_others() -> None:
    assert names({"excludes": ["x-*"]}, includes_by_default=True) == {"user-agent"}
    assert names(None, includes_by_default=True) == set()


def test_values_are_kept_as_they_were_sent() -> None:
    taken = HeaderFilter(HeaderChoice(includes=["x-user"])).taken([(b"x-user", "Åse".encode("latin-1"))])
    assert taken == {"x-user": "Åse"}
