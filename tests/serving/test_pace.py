"""How long a connection may take, which connections are let in, and what is told of refusals: without a socket."""

import logging

import pytest

from platform_site.processes.http.limits import (
    BODY,
    HEADER,
    NOTHING,
    Connections,
    Limits,
    Pace,
    Refusals,
    Unread,
    connections_in,
    network,
)

LIMITS = Limits(header_seconds=10, body_seconds=30, body_bytes_per_second=1000)


class Sender:
    """A connection that is looked at once a second, by a clock that the test moves."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.pace = Pace(limits)
        self.now = 100.0

    def late_after(self, seconds: int, *, bytes_a_second: int = 0, is_paused: bool = False) -> int | None:
        """Return the second in which the connection was found late, None if that did not happen."""
        for second in range(seconds + 1):
            if self.pace.late(self.now, is_paused=is_paused):
                return second
            self.now += 1
            self.pace.received += bytes_a_second
        return None


@pytest.mark.parametrize("bytes_a_second", [0, 1, 100_000])
def test_a_header_has_its_time_however_much_comes(bytes_a_second: int) -> None:
    assert Sender().late_after(60, bytes_a_second=bytes_a_second) == 10


def test_each_header_has_a_time_of_its_own() -> None:
    sender = Sender()
    assert sender.late_after(8) is None
    sender.pace.begin(BODY)
    sender.pace.begin(NOTHING)
    sender.pace.begin(HEADER)
    assert sender.late_after(60) == 10


def test_a_connection_between_requests_is_never_late() -> None:
    sender = Sender()
    sender.pace.begin(NOTHING)
    assert sender.late_after(1000) is None


def test_a_body_must_not_stand_still() -> None:
    sender = Sender()
    sender.pace.begin(BODY)
    assert sender.late_after(60) == 30


def test_a_body_must_not_trickle() -> None:
    sender = Sender()
    sender.pace.begin(BODY)
    assert sender.late_after(60, bytes_a_second=999) == 30


def test_a_body_that_was_fast_at_first_must_not_trickle_later() -> None:
    sender = Sender()
    sender.pace.begin(BODY)
    assert sender.late_after(29, bytes_a_second=1_000_000) is None
    assert sender.late_after(60, bytes_a_second=1) is not None


def test_a_body_that_comes_fast_enough_may_take_as_long_as_it_likes() -> None:
    sender = Sender()
    sender.pace.begin(BODY)
    assert sender.late_after(3600, bytes_a_second=1000) is None


def test_time_in_which_the_server_does_not_read_is_free() -> None:
    sender = Sender()
    sender.pace.begin(BODY)
    assert sender.late_after(3600, is_paused=True) is None
    # From the last look at it on.
    assert sender.late_after(60) == 29


def test_connections_have_room_in_all() -> None:
    limits = Limits(connections=2)
    connections = Connections(limits, Refusals(limits))
    assert connections.enter("10.0.0.1") is None
    assert connections.enter("") is None
    refusal = connections.enter("10.0.0.2")
    assert refusal is not None
    assert (refusal.reason, refusal.status) == ("connections", 503)
    connections.leave("")
    assert connections.enter("10.0.0.2") is None


def test_connections_have_room_by_address() -> None:
    limits = Limits(connections=100, connections_per_address=2)
    connections = Connections(limits, Refusals(limits))
    same = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"]
    assert [connections.enter(host) is None for host in same] == [True, True, False]
    neighbours = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2%eth0", "2001:db8:0:1::3", "2001:db8:0:2::1"]
    assert [connections.enter(host) is None for host in neighbours] == [True, True, False, True]
    # Those that come by a socket file have no address.
    assert [connections.enter("") for _ in range(5)] == [None] * 5
    connections.leave("::ffff:10.0.0.1")
    assert connections.enter("10.0.0.1") is None


def test_without_a_limit_an_address_may_have_all() -> None:
    limits = Limits(connections=50, connections_per_address=0)
    connections = Connections(limits, Refusals(limits))
    assert [connections.enter("10.0.0.1") for _ in range(50)] == [None] * 50
    assert connections.enter("10.0.0.1") is not None


def test_networks() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network("no address") == "no address"


@pytest.mark.parametrize(("files", "connections"), [(1024, 512), (256, 128), (20_000, 19_488)])
def test_open_files_are_left_for_the_rest(files: int, connections: int) -> None:
    assert connections_in(files) == connections


def test_refusals_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refusals = Refusals(LIMITS)
    refusals.tell(0)
    assert caplog.records == []
    for second in range(150):
        refusals.count(refusals.malformed)
        refusals.count(refusals.header_time)
        refusals.tell(second)
    told = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert told == ["header_time 1, malformed 1", "header_time 60, malformed 60", "header_time 60, malformed 60"]


@pytest.mark.parametrize("name", ["malformed", "header_size", "header_time", "body_time", "transfer_encoding"])
def test_an_answer_is_whole(name: str) -> None:
    refusal = getattr(Refusals(LIMITS), name)
    head, _, body = refusal.answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {refusal.status:d} ".encode())
    assert f"content-length: {len(body)}".encode() in head
    assert b"connection: close" in head


def test_a_client_that_reads_nothing_is_late() -> None:
    unread = Unread(Limits(unread_seconds=300))
    assert not unread.late(0, 1000)
    assert not unread.late(299, 1000)
    assert unread.late(300, 1000)


def test_a_client_that_reads_ever_so_slowly_is_not_late() -> None:
    unread = Unread(Limits(unread_seconds=300))
    assert not any(unread.late(now, 1000 - now // 100) for now in range(0, 3000, 100))


def test_what_waits_anew_has_its_own_time() -> None:
    unread = Unread(Limits(unread_seconds=300))
    unread.late(0, 1000)
    unread.forget()
    assert not unread.late(400, 1000)
    assert unread.late(700, 1000)
