"""Events as rows: what was sent is escaped, the tokens of a message become one text."""

import orjson
import pytest

from platform_site.core.events.interface import Event
from runs.pages.event_rows import MAX_ROWS, MAX_UNPACKED, EventRows
from tests.console.conftest import HOSTILE


def event(name: str, data: object, at: str = "1500-0") -> Event:
    return Event(at, name, orjson.dumps(data))


def rows(*events: Event) -> str:
    return EventRows(begin_ms=1000).batch(list(events))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("values", {"a": HOSTILE}), ("updates", {HOSTILE: {"a": 1}}), ("custom", HOSTILE),
        ("error", {"error": HOSTILE}),
        ("messages", [{"content": HOSTILE, "type": "ai", "id": HOSTILE}, {"langgraph_node": HOSTILE}]),
        ("messages/partial", [{"content": HOSTILE, "type": "ai", "id": "1"}]), ("tasks", {"name": HOSTILE}),
        (f"values|{HOSTILE}:1", {}), (HOSTILE, [1]), ("metadata", {"attempt": HOSTILE}),
    ],
)  # fmt: skip
def test_nothing_a_graph_sent_becomes_markup(name, data):
    html = rows(event(name, data))
    assert "<script" not in html
    assert "<img" not in html


def test_a_row_never_ends_its_data_line():
    html = rows(event("custom", "a\nb\r\nc"), event("messages", [{"content": "x\ny", "type": "ai"}, {}]))
    assert "\n" not in html
    assert "\r" not in html
    assert "x&#10;y" in html


def test_an_update_names_its_node():
    html = rows(event("updates", {"triage": {"kind": "faulty"}}))
    assert '<span class="nd cut">triage</span>' in html
    assert "kind: &quot;faulty&quot;" in html
    assert "+0.50" in html


def test_a_subgraph_is_named_before_its_node():
    assert "box › triage" in rows(event("updates|box:123", {"triage": {}}))


def test_tokens_of_one_message_flow_into_one_row():
    chunks = [{"type": "AIMessageChunk", "id": "m", "content": text} for text in ("I am ", "{sorry}", " <b>")]
    html = rows(*(event("messages", [chunk, {"langgraph_node": "answer"}]) for chunk in chunks))
    assert html.count("<li") == 1
    assert "I am {sorry} &lt;b&gt;" in html


def test_tokens_of_a_later_batch_are_put_into_the_row_that_is_there():
    live = EventRows(begin_ms=1000)
    live.batch([event("messages", [{"type": "AIMessageChunk", "id": "m", "content": "I am"}, {}], "1500-7")])
    chunks = [{"type": "AIMessageChunk", "id": "m", "content": text} for text in (" ", "so")]
    html = live.batch([event("messages", [chunk, {}], "1600-0") for chunk in chunks])
    assert html == '<span hx-swap-oob="beforeend:#text-1500-7"> so</span>'


def test_accumulated_messages_add_only_what_is_new():
    live = EventRows(begin_ms=1000)
    first = live.batch([event("messages/partial", [{"type": "ai", "id": "m", "content": "I am"}])])
    later = live.batch([event("messages/partial", [{"type": "ai", "id": "m", "content": "I am sorry"}])])
    assert "I am" in first
    assert "> sorry</span>" in later


def test_a_tool_call_is_told():
    message = {"type": "ai", "id": "m", "content": "", "tool_calls": [{"name": "lookup_order"}]}
    assert "calls lookup_order" in rows(event("messages/complete", [message]))


def test_an_error_row_is_marked():
    assert rows(event("error", {"error": "ValueError", "message": "no"})).startswith("<li class=bad")


def test_of_a_long_past_only_the_newest_rows_are_shown():
    html = rows(*(event("custom", number) for number in range(MAX_ROWS + 5)))
    assert html.count("<li") == MAX_ROWS + 1
    assert "5 earlier events are not shown" in html


def test_a_large_event_is_named_by_its_size():
    assert "too large to show here" in rows(event("values", "x" * MAX_UNPACKED))
