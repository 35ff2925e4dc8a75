"""A thread's title: the first words that a person says."""

from typing import Any

import pytest

from threads.services import title_of


@pytest.mark.parametrize(
    ("payload", "title"),
    [
        ({"messages": "hello"}, "hello"),
        ({"messages": ["hello", "more"]}, "hello"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "hello"),
        ({"messages": {"role": "user", "content": "hello"}}, "hello"),
        ({"messages": [{"content": [{"type": "image"}, {"text": "what"}, {"text": "is it"}]}]}, "what is it"),
        ({"messages": [{"content": ""}, {"content": "second"}]}, "second"),
        ({"messages": " many \n\t words "}, "many words"),
        ({"messages": "nul\x00l"}, "null"),
        ({"messages": []}, ""),
        ({"messages": [5, None, {"content": 7}]}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_title(payload: Any, title: str) -> None:
    assert title_of(payload) == title


def test_long_title_is_cut() -> None:
    title = title_of({"messages": "x" * 500})
    assert (len(title), title[-1]) == (80, "…")
