"""The store: namespaces, items, one item, search, and what people change."""

from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from platform_site.access.principal import Principal
from platform_site.console.shell import VIEWER_SENTENCE
from platform_site.core.config import ConfigError
from platform_site.core.items import configured
from store import selectors
from store.pages import browse
from tests.console.conftest import HOSTILE, Yard


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`langgraph.json` has an index."""
    monkeypatch.setattr(browse, "config", lambda: SimpleNamespace(store=SimpleNamespace(index=object())))


def read(client: Client, **query: str) -> str:
    answer = client.get("/dashboard/store", query)
    assert answer.status_code == 200
    return answer.content.decode()


def rows(page: str) -> list[str]:
    return [part.split("</a>")[0].split(">")[1] for part in page.split('<a class="whole cut"')[1:]]


def branches(page: str) -> list[str]:
    tree = page.split('<ul class="tree')[1].split("</ul>")[0]
    labels = [part.split("</span>")[0] for part in tree.split('<span class="cut">')[1:]]
    counts = [part.split("</span>")[0].split(">")[1] for part in tree.split('<span class="push')[1:]]
    return [f"{label} {count}" for label, count in zip(labels, counts, strict=True)]


def item(yard: Yard, namespace: str, key: str) -> Any:
    return async_to_sync(selectors.item_detail)(Principal(yard.workspace.pk), tuple(namespace.split(".")), key)


# Looking.


def test_the_tree_opens_on_the_way_to_the_chosen_namespace(put, member):
    for namespace in ("users.ada", "users.ada.notes", "users.bob", "docs.en"):
        put(namespace, "k")
    assert branches(read(member)) == ["docs 1", "users 3"]
    page = read(member, **{"in": "users.ada"})
    assert branches(page) == ["docs 1", "users 3", "ada 2", "notes 1", "bob 1"]
    assert 'href="?in=users.ada" aria-current="page"' in page


def test_a_namespace_tells_its_items_with_preview_and_the_time_that_is_left(put, member):
    put("users", "note", {"text": "Likes sailing"}, ttl=90.5)
    put("users", "settings", {"dark": True})
    page = read(member, **{"in": "users"})
    assert rows(page) == ["note", "settings"]
    for text in ("Likes sailing", "{&quot;dark&quot;:true}", "1 h 30 min left"):
        assert text in page


def test_an_item_is_shown_as_a_tree_and_as_json(put, member):
    put("users", "settings", {"dark": True, "size": {"w": 3}})
    page = read(member, **{"in": "users", "key": "settings"})
    assert '<span class="jk">dark</span>' in page
    assert "for ever" in page
    assert "&quot;dark&quot;: true" in read(member, **{"in": "users", "key": "settings", "show": "json"})


def test_looking_prolongs_nothing(yard, put, member):
    put("users", "note", ttl=90)
    before = item(yard, "users", "note").expires_at
    for query in ({"in": "users"}, {"in": "users", "key": "note"}, {"q": "note"}):
        read(member, **query)
    assert item(yard, "users", "note").expires_at == before


@pytest.mark.parametrize("query", [{"in": "users", "key": "gone"}, {"in": "a..b"}, {"key": "note"}])
def test_what_is_not_there_is_not_found(put, member, query):
    put("users", "note")
    assert member.get("/dashboard/store", query).status_code == 404


def test_a_namespace_has_pages(put, member, monkeypatch):
    monkeypatch.setattr(browse, "PER_PAGE", 2)
    for number in range(3):
        put("users", str(number))
    assert rows(read(member, **{"in": "users"})) == ["0", "1"]
    assert rows(read(member, **{"in": "users", "page": "2"})) == ["2"]
    # A page that is no longer there is the last one.
    assert rows(read(member, **{"in": "users", "page": "9"})) == ["2"]


def test_an_empty_store_says_what_belongs_there(put, member):
    assert "Nothing is stored yet" in read(member)


def test_a_stranger_sees_nothing_of_it(put, stranger):
    put("users", "note", {"text": "secret"})
    assert "Nothing is stored yet" in read(stranger)
    assert rows(read(stranger, q="secret")) == []
    assert stranger.get("/dashboard/store", {"in": "users", "key": "note"}).status_code == 404


def test_nothing_that_is_stored_becomes_markup(put, member):
    hostile = HOSTILE.replace(".", "")
    put(hostile, HOSTILE, {"text": HOSTILE, HOSTILE: HOSTILE})
    for query in ({}, {"in": hostile}, {"in": hostile, "key": HOSTILE}, {"in": hostile, "key": HOSTILE, "edit": "1"},
                  {"in": hostile, "key": HOSTILE, "show": "json"}, {"q": HOSTILE}):  # fmt: skip
        page = read(member, **query)
        assert "<script>alert" not in page
        assert "<img src=x" not in page


# Searching.


def test_text_is_found_in_keys_namespaces_and_values(put, member):
    put("users.ada", "note", {"text": "Likes SAILING"})
    put("users.bob", "sailing")
    put("sailing", "k")
    put("users.eve", "100%", {"a_b": 1})
    assert rows(read(member, q="sailing")) == ["k", "sailing", "note"]
    assert rows(read(member, q="100%")) == ["100%"]
    assert rows(read(member, q="a_b")) == ["100%"]
    assert "No item matches" in read(member, q="zzz")


def test_an_item_that_was_found_keeps_the_search(put, member):
    put("users", "note")
    page = read(member, q="note")
    assert 'href="?q=note&amp;by=text&amp;in=users&amp;key=note"' in page
    assert rows(read(member, **{"q": "note", "in": "users", "key": "note"})) == ["note"]


def test_with_an_index_meaning_is_searched_too_and_tells_how_similar(put, indexed, member):
    put("n", "far", {"text": "bbb"})
    put("n", "near", {"text": "aaab"})
    page = read(member, q="aaa", by="meaning")
    assert rows(page)[0] == "near"
    assert "Similarity" in page
    assert "By meaning" in page


def test_without_an_index_meaning_is_no_choice(put, member, monkeypatch):
    monkeypatch.setattr(browse, "config", lambda: SimpleNamespace(store=None))
    put("n", "k")
    page = read(member, q="k", by="meaning")
    assert "By meaning" not in page
    assert "by text" in page


# Changing.


def save(client: Client, namespace: str, key: str, value: str, **fields: str) -> Any:
    return client.post("/dashboard/store/save", {"in": namespace, "key": key, "value": value, "ttl": "", **fields})


def test_a_member_makes_an_item(yard, put, member):
    answer = save(member, "users.ada", "note", '{"text": "x"}', ttl="90")
    assert answer.headers["Location"] == "/dashboard/store?in=users.ada&key=note"
    made = item(yard, "users.ada", "note")
    assert (made.value, made.ttl_minutes) == ({"text": "x"}, 90)


def test_a_member_changes_an_item_and_keeps_its_time_to_live(yard, put, member):
    put("users", "note", {"n": 1}, ttl=90)
    page = read(member, **{"in": "users", "key": "note", "edit": "1"})
    assert 'name="ttl" value="90"' in page
    save(member, "users", "note", '{"n": 2}', ttl="90", seen=page.split('name="seen" value="')[1].split('"')[0])
    changed = item(yard, "users", "note")
    assert (changed.value, changed.ttl_minutes) == ({"n": 2}, 90)


@pytest.mark.parametrize(("index", "kept"), [(False, []), (["n"], ["n"]), (None, None)])
def test_an_edit_embeds_what_was_embedded_before_and_nothing_else(yard, put, member, index, kept):
    put("users", "note", {"n": "a"}, index=index)
    page = read(member, **{"in": "users", "key": "note", "edit": "1"})
    save(member, "users", "note", '{"n": "b"}', seen=page.split('name="seen" value="')[1].split('"')[0])
    changed = item(yard, "users", "note")
    assert (changed.value, changed.index) == ({"n": "b"}, kept)


def test_what_somebody_else_has_put_meanwhile_is_not_overwritten(yard, put, member):
    put("users", "note", {"n": 1})
    page = read(member, **{"in": "users", "key": "note", "edit": "1"})
    put("users", "note", {"n": 2})
    answer = save(member, "users", "note", '{"n": 3}', seen=page.split('name="seen" value="')[1].split('"')[0])
    assert answer.status_code == 422
    assert b"Somebody has changed this item meanwhile" in answer.content
    assert b"&quot;n&quot;: 3" in answer.content
    assert item(yard, "users", "note").value == {"n": 2}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"value": "{"}, "Not JSON"), ({"value": "[1]"}, "A value is a JSON object"),
     ({"ttl": "soon"}, "number of minutes"), ({"ttl": "-1"}, "number of minutes"),
     ({"key": ""}, "a namespace and a key"),
     ({"in": ""}, "a namespace and a key"), ({"in": "a..b"}, "Namespace label"), ({"in": "langgraph"}, "langgraph"),
     ({"in": "users", "key": "note"}, "an item with this key already")],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_lost(put, member, fields, sentence):
    put("users", "note")
    answer = save(member, **{"namespace": "n", "key": "kept", "value": '{"kept": 1}', **fields})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "kept" in page
    assert sentence in page.split('role="alert"')[1].split("</p>")[0]


def test_a_member_deletes_an_item(yard, put, member):
    put("users", "note")
    answer = member.post("/dashboard/store/delete", {"in": "users", "key": "note"})
    assert answer.headers["Location"] == "/dashboard/store?in=users"
    assert item(yard, "users", "note") is None


def test_a_viewer_changes_nothing(yard, put, viewer):
    put("users", "note")
    page = read(viewer, **{"in": "users", "key": "note", "edit": "1"})
    assert VIEWER_SENTENCE in page
    assert 'name="value"' not in page
    assert "/store/delete" not in page
    assert save(viewer, "users", "note", "{}").status_code == 403
    assert viewer.post("/dashboard/store/delete", {"in": "users", "key": "note"}).status_code == 403
    assert item(yard, "users", "note").value == {"key": "note"}


def test_a_store_that_cannot_be_opened_says_why(yard, member, monkeypatch):
    async def refuse(*_: Any) -> None:
        raise ConfigError("`store.index.embed` names what is not there")

    monkeypatch.setattr(configured, "loop_stores", lambda: SimpleNamespace(call=refuse))
    answer = member.get("/dashboard/store")
    assert (answer.status_code, b"names what is not there" in answer.content) == (503, True)
    page = member.get("/dashboard/search", {"q": "lamp"}).content.decode()
    assert "The store was not searched" in page


def test_a_value_that_is_as_deep_as_the_store_takes_is_shown_and_a_deeper_one_is_refused(put, member):
    def nested(depth: int) -> str:
        return '{"a":' * depth + "1" + "}" * depth

    assert save(member, "n", "deep", nested(250)).status_code == 302
    for query in ({}, {"show": "json"}, {"edit": "1"}):
        read(member, **{"in": "n", "key": "deep", **query})
    answer = save(member, "n", "deeper", nested(400))
    assert (answer.status_code, b"nested too deep" in answer.content) == (422, True)


def test_a_long_text_is_looked_for_and_a_longer_one_refused(put, member):
    put("users", "note")
    assert "No item matches" in read(member, q="x" * 16_000)
    assert member.get("/dashboard/store", {"q": "x" * 60_000}).status_code == 414
