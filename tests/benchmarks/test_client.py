"""The benchmark's own HTTP client, against the stub that also prices it."""

import json

import pytest

from .client import Address, Answer, BadAnswer, connections
from .own_cost import stub_server
from .stub import EVENTS


def test_mark_cut_by_two_pieces_is_counted_once():
    answer = Answer(mark=b"event: custom", status=200)

    for piece in (b"event: cus", b"tom\r\ndata: 1\r\n\r\nevent: custom", b"\r\ndata: 2\r\n\r\nev", b"ent: custom"):
        answer.feed(piece)

    assert answer.count == 3
    assert answer.marked_at is not None


def test_failed_run_is_a_bad_answer_though_its_status_is_200():
    answer = Answer(status=200)
    answer.feed(b'{"__error__":{"error":"ValueError","message":"boom"}}')

    with pytest.raises(BadAnswer, match="boom"):
        answer.check()


def test_request_carries_json_and_the_given_headers():
    request = Address.parse("http://127.0.0.1:2024", [("x-api-key", "secret")]).request("POST", "/threads", {"a": 1})

    head, _, body = request.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /threads HTTP/1.1"
    assert b"x-api-key: secret" in head
    assert b"content-length: 7" in head
    assert json.loads(body) == {"a": 1}


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1:2024", "http://host/path"])
def test_address_that_cannot_be_driven_is_refused(url: str):
    with pytest.raises(ValueError, match="http://host:port"):
        Address.parse(url)


async def test_connection_is_kept_for_answers_and_streams():
    async with stub_server() as server, connections(server.address, 1) as (connection,):
        get, stream = server.address.request("GET", "/threads"), server.address.request("GET", "/stream")
        first = await connection.send(get)
        streamed = await connection.send(stream, b"event: messages")
        second = await connection.send(get)

    assert first.json() == second.json()
    assert streamed.count == EVENTS


async def test_closed_connection_is_opened_again():
    async with stub_server() as server, connections(server.address, 1) as (connection,):
        connection.close()
        answer = await connection.send(server.address.request("GET", "/threads"))

    assert answer.status == 200
