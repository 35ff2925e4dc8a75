"""Nasty JSON is answered with a 4xx, or stored and returned equal, by every operation that stores."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests import live
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.usefixtures("not_the_reference")

# As they stand in a body, since no encoder would write some of them.
VALUES = {
    "NUL": r'"a\u0000b"',
    "lone surrogate": r'"a\ud800b"',
    "surrogates in the wrong order": r'"\ude00\ud83d"',
    "surrogate pair": r'"\ud83d\ude00"',
    "non-characters": r'"\uffff\ufffe"',
    "separators and controls": r'"\u2028\u2029\u007f\u0085\b"',
    "64 bits": "9223372036854775807",
    "64 bits without a sign": "18446744073709551615",
    "more than 64 bits": "-170141183460469231731687303715884105728",
    "five thousand digits": "1" * 5000,
    "largest float": "1.7976931348623157e308",
    "beyond floats": "1e400",
    "smallest float": "5e-324",
    "many digits": "0.1000000000000000055511151231257827021181583404541015625",
    "minus zero": "-0.0",
    "empty key": '{"":{"":[]}}',
    "key with NUL": r'{"a\u0000":1}',
    "key with a lone surrogate": r'{"\udfff":1}',
    "same key twice": '{"a":1,"a":2}',
    "keys of other languages": '{"__proto__":1,"constructor":{"a":null},"$ne":1,"a.b":1,"a[0]":2}',
    "deep": "[" * 100 + "]" * 100,
    "very deep": "[" * 2000 + "]" * 2000,
    "abysmally deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "empty things": '[{},[],"",null,false,0]',
    "SQL": '"\'; DROP TABLE threads_thread; -- %s %(a)s $1 ?"',
    "ten thousand keys": "{" + ",".join(f'"k{number}":{number}' for number in range(10_000)) + "}",
}


class Storing(NamedTuple):
    """An operation with the nasty value where `%s` stands, and where what was stored is found again."""

    request: str
    body: str
    # Path of the request that reads, which may name what the answer holds; empty for the answer itself.
    reader: str
    # The way to the value in what was read.
    place: tuple[str | int, ...]
    # Whether the field takes strings only.
    text_only: bool = False


ASSISTANT = "/assistants/{assistant_id}"
THREAD = "/threads/{thread_id}"
RUN = "/threads/{thread_id}/runs/{run_id}"
CRON = "/runs/crons/{cron_id}"
STATE = "/threads/{t}/state"
ITEM = "/store/items?namespace=n&key=k"
BY_HAND = '{"values":{"note":%s},"as_node":"inc"}'
SUPERSTEPS = '{"metadata":{"graph_id":"counter"},"supersteps":[{"updates":[{"values":{"note":%s},"as_node":"inc"}]}]}'


def asked(fields: str) -> str:
    """The body of a run."""
    return '{"assistant_id":"counter",' + fields + "}"


def planned(fields: str) -> str:
    """The body of a cron."""
    return '{"assistant_id":"counter","schedule":"0 0 1 1 *",' + fields + "}"


STORING = [
    Storing("POST /assistants", '{"graph_id":"counter","metadata":{"n":%s}}', ASSISTANT, ("metadata", "n")),
    Storing("POST /assistants", '{"graph_id":"counter","context":{"n":%s}}', ASSISTANT, ("context", "n")),
    Storing(
        "POST /assistants", '{"graph_id":"counter","context":{"n":%s}}', ASSISTANT, ("config", "configurable", "n")
    ),
    Storing("POST /assistants", '{"graph_id":"counter","name":%s}', ASSISTANT, ("name",), True),
    Storing("POST /assistants", '{"graph_id":"counter","description":%s}', ASSISTANT, ("description",), True),
    Storing("PATCH /assistants/{a}", '{"metadata":{"n":%s}}', ASSISTANT, ("metadata", "n")),
    Storing("PUT /assistants/{a}", '{"metadata":{"n":%s}}', ASSISTANT, ("metadata", "n")),
    Storing("POST /threads", '{"metadata":{"n":%s}}', THREAD, ("metadata", "n")),
    Storing("POST /threads", SUPERSTEPS, "/threads/{thread_id}/state", ("values", "note")),
    Storing("PATCH /threads/{t}", '{"metadata":{"n":%s}}', THREAD, ("metadata", "n")),
    Storing("PATCH /threads/{t}/state", '{"metadata":{"n":%s}}', THREAD, ("metadata", "n")),
    Storing("POST /threads/{t}/state", BY_HAND, STATE, ("values", "note")),
    Storing("POST /threads/{t}/state", BY_HAND, "/threads/{t}", ("values", "note")),
    Storing("POST /threads/{t}/state", BY_HAND, "/threads/{t}/history", (0, "values", "note")),
    Storing(
        "POST /threads/{e}/messages", '{"role":"user","content":%s}', "/threads/{e}/messages", (0, "content"), True
    ),
    Storing("POST /threads/{t}/runs", asked('"input":{"note":%s}'), RUN, ("kwargs", "input", "note")),
    Storing("POST /threads/{t}/runs", asked('"metadata":{"n":%s}'), RUN, ("metadata", "n")),
    Storing("POST /threads/{t}/runs", asked('"context":{"n":%s}'), RUN, ("kwargs", "context", "n")),
    Storing("POST /threads/{t}/runs/wait", asked('"input":{"note":%s}'), "", ("note",)),
    Storing("POST /threads/{t}/runs/wait", asked('"input":{"note":%s}'), STATE, ("values", "note")),
    Storing("POST /threads/{t}/runs/wait", asked('"command":{"update":{"note":%s}}'), STATE, ("values", "note")),
    Storing("POST /threads/{t}/runs/stream", asked('"input":{"note":%s}'), STATE, ("values", "note")),
    Storing("POST /runs", asked('"input":{"note":%s},"on_completion":"keep"'), RUN, ("kwargs", "input", "note")),
    Storing("POST /runs/wait", asked('"input":{"note":%s}'), "", ("note",)),
    Storing("POST /runs/crons", planned('"input":{"note":%s}'), CRON, ("payload", "input", "note")),
    Storing("POST /runs/crons", planned('"metadata":{"n":%s}'), CRON, ("metadata", "n")),
    Storing("POST /threads/{t}/runs/crons", planned('"context":{"n":%s}'), CRON, ("payload", "context", "n")),
    Storing("PUT /store/items", '{"namespace":["n"],"key":"k","value":{"n":%s}}', ITEM, ("value", "n")),
    Storing("POST /runs/batch", "[" + asked('"metadata":{"n":%s}') + "]", "", (0, "metadata", "n")),
]


@pytest.fixture(scope="module")
def http(start_server: Callable[..., live.LiveServer]) -> Iterator[httpx.Client]:
    """A server of its own: what is left on it is nobody's business."""
    with httpx.Client(base_url=start_server(live.CONTRACT_CONFIG, LOG_LEVEL="error").url, timeout=60) as client:
        yield client


def read(text: str | bytes) -> Any:
    """JSON as a client reads it that knows numbers of 64 bits only, such as JavaScript."""
    return json.loads(text, parse_int=float)


def equal(left: Any, right: Any) -> bool:
    """Equal as it is written: 1 is not true, and 0 is not -0.0."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def make_ids(http: httpx.Client) -> dict[str, str]:
    """An assistant, a thread with a graph and one without."""
    empty = http.post("/threads", json={}).json()["thread_id"]
    thread = http.post("/threads", json={"metadata": {"graph_id": "counter"}}).json()["thread_id"]
    assistant = http.post("/assistants", json={"graph_id": "counter"}).json()["assistant_id"]
    return {"a": assistant, "t": thread, "e": empty}


def sent_and_read(http: httpx.Client, storing: Storing, text: str) -> Any:
    """What a client finds after it has sent the value; the answer where it was refused."""
    ids = make_ids(http)
    method, path = storing.request.split(" ")
    answer = http.request(method, path.format(**ids), content=storing.body.replace("%s", text))
    if 400 <= answer.status_code < 500:
        return answer
    assert answer.status_code in (200, 204), answer.text[:300]
    if storing.reader:
        made = read(answer.content) if answer.headers.get("content-type") == "application/json" else {}
        known = {key: value for key, value in made.items() if isinstance(value, str)} if isinstance(made, dict) else {}
        answer = http.get(storing.reader.format(**{**known, **ids}))
        assert answer.status_code == 200, answer.text[:300]
    found = read(answer.content)
    for step in storing.place:
        found = found[step]
    return found


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("storing", STORING, ids=lambda storing: f"{storing.request} {storing.place}")
def test_value_is_refused_or_returned_equal(http: httpx.Client, storing: Storing, name: str) -> None:
    found = sent_and_read(http, storing, VALUES[name])
    if isinstance(found, httpx.Response):
        assert isinstance(found.json()["detail"], str)
    else:
        assert not storing.text_only or isinstance(found, str)
        assert equal(found, read(VALUES[name]))


@pytest.fixture
def on_postgres(start_server: Callable[..., live.LiveServer], postgres_url: str) -> Iterator[httpx.Client]:  # noqa: F811
    server = start_server(live.CONTRACT_CONFIG, LOG_LEVEL="error", DATABASE_URL=postgres_url)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
    server.stop()


@pytest.mark.postgres
def test_value_is_refused_or_returned_equal_by_postgres(on_postgres: httpx.Client) -> None:
    # Its JSON has neither NUL nor minus zero, and numbers of any length.
    names = ("NUL", "key with NUL", "non-characters", "more than 64 bits", "largest float", "smallest float", "SQL")
    wrong = []
    for name in names:
        for storing in STORING:
            try:
                found = sent_and_read(on_postgres, storing, VALUES[name])
            except AssertionError as error:
                wrong.append((name, storing, str(error)))
                continue
            if not isinstance(found, httpx.Response) and not equal(found, read(VALUES[name])):
                wrong.append((name, storing, found))
    assert wrong == []


# Where the value is looked for, and what is not found.
ASKING = {
    "POST /threads/search": ['{"metadata":{"n":%s}}', '{"values":{"n":%s}}', '{"extract":{"a":%s}}', '{"ids":[%s]}'],
    "POST /threads/count": ['{"metadata":{"n":%s}}', '{"values":{"n":%s}}'],
    "POST /threads/{t}/history": [
        '{"metadata":{"n":%s}}',
        '{"before":%s}',
        '{"checkpoint":{"checkpoint_id":%s}}',
        '{"checkpoint":{"checkpoint_ns":%s}}',
    ],
    "POST /threads/{t}/state/checkpoint": [
        '{"checkpoint":{"checkpoint_id":%s}}',
        '{"checkpoint":{"checkpoint_ns":%s}}',
    ],
    "POST /threads/{t}/state": ['{"values":{"note":"a"},"checkpoint_id":%s}', '{"values":{},"as_node":%s}'],
    "POST /assistants/search": ['{"metadata":{"n":%s}}', '{"name":%s}', '{"graph_id":%s}'],
    "POST /assistants/{a}/versions": ['{"metadata":{"n":%s}}'],
    "POST /runs/crons/search": ['{"metadata":{"n":%s}}'],
    "POST /store/items/search": [
        '{"filter":{"n":%s}}',
        '{"filter":{"n":{"$gt":%s}}}',
        '{"query":%s}',
        '{"namespace_prefix":[%s]}',
    ],
    "POST /store/namespaces": ['{"prefix":[%s]}', '{"suffix":["*",%s]}'],
    "DELETE /store/items": ['{"namespace":[%s],"key":"k"}', '{"namespace":["n"],"key":%s}'],
}


def failures(http: httpx.Client) -> list[tuple[str, str, str]]:
    """Which questions are not answered: the operation, its body and the value's name."""
    ids = make_ids(http)
    http.post(f"/threads/{ids['t']}/runs/wait", json={"assistant_id": "counter", "input": {"note": "x"}})
    http.put("/store/items", json={"namespace": ["n"], "key": "k", "value": {"n": 1}})
    wrong = []
    for operation, bodies in ASKING.items():
        method, path = operation.split(" ")
        for body in bodies:
            for name, text in VALUES.items():
                answer = http.request(method, path.format(**ids), content=body.replace("%s", text))
                if answer.status_code >= 500:
                    wrong.append((operation, body, name))
    return wrong


def test_a_question_with_any_value_is_answered(http: httpx.Client) -> None:
    assert failures(http) == []


@pytest.mark.postgres
def test_a_question_with_any_value_is_answered_by_postgres(on_postgres: httpx.Client) -> None:
    assert failures(on_postgres) == []


def test_twenty_megabytes_are_stored_and_returned_equal(http: httpx.Client) -> None:
    text = "x" * 20_000_000
    thread = http.post("/threads", json={"metadata": {"n": text}})
    assert thread.status_code == 200
    found = http.get(f"/threads/{thread.json()['thread_id']}")
    assert found.json()["metadata"]["n"] == text


def test_twenty_megabytes_go_through_a_run(http: httpx.Client) -> None:
    text = "x" * 20_000_000
    values = http.post("/runs/wait", json={"assistant_id": "counter", "input": {"note": text}})
    assert values.json()["note"] == text
