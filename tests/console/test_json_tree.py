"""The JSON tree: folds without JavaScript, and nothing a graph sent becomes markup."""

from platform_site.console.json_tree import CHILDREN_AT_ONCE, MAX_NODES, json_tree
from tests.console.conftest import HOSTILE


def test_keys_and_values_are_escaped():
    for value in ({HOSTILE: 1}, {"a": HOSTILE}, [HOSTILE], HOSTILE, {"a": HOSTILE + "\n" + HOSTILE}):
        html = json_tree(value)
        assert "<script" not in html
        assert "<img" not in html
        assert "&lt;script&gt;" in html


def test_each_kind_of_value_has_its_own_ink():
    html = json_tree({"s": "x", "n": 1.5, "b": True, "z": None, "e": {}})
    for part in ('class="js">"x"', 'class="jn">1.5', 'class="jb">true', 'class="jz">null', 'class="jm">{}'):
        assert part in html.replace("&quot;", '"')


def test_the_first_levels_are_open():
    assert json_tree({"a": {"b": {"c": 1}}}, open_levels=2).count("<details open>") == 1


def test_many_children_are_folded_by_the_hundred():
    html = json_tree({"many": list(range(CHILDREN_AT_ONCE + 50))})
    assert "50 more" in html
    assert f">{CHILDREN_AT_ONCE + 49}<" in html


def test_a_value_too_large_for_a_page_says_so():
    html = json_tree([[number] * 10 for number in range(MAX_NODES)])
    assert "too much for a page" in html
    assert html.count("<li>") <= MAX_NODES + MAX_NODES // CHILDREN_AT_ONCE + 1


def test_deep_nesting_does_not_break_it():
    value: object = 1
    for _ in range(300):
        value = {"a": value}
    assert json_tree(value).count("<details") == 299
