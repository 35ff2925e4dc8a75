"""A stranger who names the victim's things everywhere, and uses what comes of it, reaches nothing of the victim.

Every operation of the OpenAPI document is attacked: a new one is from its first day.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.contract.coverage import Document, server_document
from tests.contract.operations import ENDLESS, OPERATIONS
from tests.tenants.attack import RUN, Attack, fill, reports_in
from tests.tenants.places import Place, Rows, changes
from tests.tenants.victim import CANARY, MARK, Victim, client, settle, until
from tests.webhooks.receiving import Receiver, receiving

pytestmark = [pytest.mark.postgres]


@dataclass
class Story:
    """What was there before the attack, and what came of it."""

    place: Place
    victim: Victim
    before: Rows
    shared: str
    attacks: list[Attack]
    told: Receiver
    log: str = ""


def is_quiet(place: Place) -> bool:
    """Whether nothing of the attacker's is under way."""
    rows = place.rows_of("attacker")
    moving = ("'pending'", "'running'", "'delivering'")
    tables = ("runs_run", "webhooks_webhookdelivery")
    return not any(f"'status': {word}" in row for table in tables for row in rows.get(table, ()) for word in moving)


@pytest.fixture(scope="module")
def story(place: Place) -> Iterator[Story]:
    """The whole attack: an admin with everything, a member once more, then what they made is used and falls due."""
    document: Document = server_document()
    with receiving() as victims, receiving() as strangers:
        victim = Victim()
        settle(victim, place, victims)
        with client(place, "victim", "admin") as http:
            found = http.post("/assistants/search", json={"graph_id": "report", "limit": 100}).json()
            shared = next(item["assistant_id"] for item in found if item["name"] == "report")
        before, logged = place.rows_of("victim"), len(place.server.log)
        attacks = [Attack(place, victim, document, role, strangers.url) for role in ("admin", "member")]

        for attack in attacks:
            for operation in OPERATIONS:
                if operation.path != ENDLESS:
                    attack.attack(operation, turns=2 if attack.role == "admin" else 1)
                    attack.trespass(operation)
        attacks[0].use()
        place.help("fire", "2")
        until(lambda: is_quiet(place))
        attacks[0].read()
        for attack in reversed(attacks):
            attack.usurp(shared)
        until(lambda: is_quiet(place))
        yield Story(place, victim, before, shared, attacks, strangers, place.server.log[logged:])
    for attack in attacks:
        attack.http.close()


def test_nothing_of_the_victim_is_changed(story: Story) -> None:
    assert changes(story.before, story.place.rows_of("victim")) == {}


def test_no_answer_tells_a_secret_or_a_forgery(story: Story) -> None:
    found = {key: text for attack in story.attacks for key, text in attack.faults.items()}
    assert found == {}


def test_no_webhook_tells_a_secret_or_a_forgery(story: Story) -> None:
    attack = story.attacks[0]
    assert len(story.told.received) > 50
    for received in story.told.received:
        assert CANARY.encode() not in received.raw, received.raw[:500]
        for told in reports_in(received.body):
            attack._judge("webhook", told)


def test_the_log_tells_no_secret(story: Story) -> None:
    assert story.log
    assert [line for line in story.log.splitlines() if CANARY in line] == []


def test_nothing_of_the_stranger_holds_a_secret(story: Story) -> None:
    rows = story.place.rows_of("attacker")
    assert sum(map(len, rows.values())) > 1000
    assert {table: row[:600] for table, texts in rows.items() for row in texts if CANARY in row} == {}


def test_enough_of_the_attack_was_served(story: Story) -> None:
    for attack in story.attacks:
        assert attack.served > 0.4 * attack.sent, (attack.served, attack.sent)


def test_the_victims_runs_are_as_before(story: Story) -> None:
    """Also those of the assistant that all workspaces have."""
    with client(story.place, "victim", "admin") as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        answer: Any = http.post(f"/threads/{thread}/runs/wait", json=RUN)
    assert answer.status_code == 200, answer.text
    assert MARK not in answer.text
    [told] = reports_in(answer.json())
    assert told["config"]["configurable"]["thread_id"] == thread


def test_stream_of_the_victims_thread_is_silent_for_a_stranger(story: Story) -> None:
    path = fill(ENDLESS, {"t": story.victim.ids["thread_id"]})
    with ExitStack() as stack:
        own, *foreign = [
            stack.enter_context(listening(client(story.place, slug, role), path))
            for slug, role in (("victim", "member"), ("attacker", "admin"), ("attacker", "member"))
        ]
        with client(story.place, "victim", "admin") as http:
            run = http.post(path.replace("/stream", "/runs/wait"), json=RUN)
            assert run.status_code == 200, run.text
        until(lambda: b"event: " in b"".join(own))
        for heard in foreign:
            assert b"event: " not in b"".join(heard)


@contextmanager
def listening(http: httpx.Client, path: str) -> Iterator[list[bytes]]:
    """What is heard on a stream that has no end."""
    heard: list[bytes] = []
    with http, http.stream("GET", path) as answer:

        def read() -> None:
            with suppress(httpx.HTTPError, OSError):
                heard.extend(answer.iter_raw())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        yield heard
