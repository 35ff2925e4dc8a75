"""The door that graphs have to the API: the SDK without a URL acts for the caller of the run and for nobody else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.contract.coverage import server_document
from tests.contract.operations import OPERATIONS
from tests.tenants.attack import RUN, Attack
from tests.tenants.places import Place, changes
from tests.tenants.victim import Victim, client, settle, until
from tests.webhooks.receiving import receiving

pytestmark = [pytest.mark.postgres]


def asked_inside(http: httpx.Client, *requests: dict[str, Any], **run: Any) -> list[dict[str, Any]]:
    """What a node of this caller's run is answered."""
    values = http.post("/runs/wait", json={"assistant_id": "asking", "input": {"asked": requests}, **run}).json()
    assert "answers" in values, values
    answers: list[dict[str, Any]] = values["answers"]
    return answers


@dataclass
class AttackFromInside(Attack):
    """A stranger whose node names the victim's things."""

    is_inside: bool = False

    def things(self) -> dict[str, str]:
        self.is_inside = False
        try:
            return super().things()
        finally:
            self.is_inside = True

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if not self.is_inside:
            return super().ask(method, path, body, **options)
        request = {"method": method, "url": path, "json": body, **options}
        run = {"assistant_id": "asking", "input": {"asked": [request]}}
        # Its answer is looked through as any other, with the answer to the node in it.
        answer = json.loads(super().ask("POST", "/runs/wait", run).text)["answers"][0]
        if answer["status"] >= 500:
            self.fault(f"{method} {path}", f"answers a node {answer['status']} {answer['text'][:200]}")
        return httpx.Response(answer["status"], text=answer["text"])


@pytest.fixture(scope="module")
def victim(place: Place) -> Iterator[Victim]:
    made = Victim()
    with receiving() as receiver:
        settle(made, place, receiver)
        yield made


def test_node_reaches_nothing_of_another_tenant(place: Place, victim: Victim) -> None:
    before = place.rows_of("victim")
    attack = AttackFromInside(place, victim, server_document(), "admin", "http://127.0.0.1:9/")
    for operation in OPERATIONS:
        attack.is_inside = True
        attack.trespass(operation)
    for path in ("/assistants/search", "/threads/search", "/runs/crons/search", "/store/namespaces"):
        attack.ask("POST", path, {"limit": 1000})
    attack.ask("POST", "/store/items/search", {"namespace_prefix": [], "limit": 1000})
    assert attack.faults == {}
    assert attack.sent > len(OPERATIONS)
    assert changes(before, place.rows_of("victim")) == {}


def test_neither_headers_nor_configurable_choose_the_caller(place: Place, victim: Victim) -> None:
    key = place.tenants["victim"]["keys"]["admin"]["key"]
    ids = {name: value for name, value in victim.ids.items() if name.startswith(("langgraph_", "workspace"))}
    headers = {"Authorization": f"Bearer {key}", "X-Api-Key": key, "X-Workspace-Id": str(ids["workspace_id"])}
    request = {"method": "POST", "url": "/runs/wait", "json": RUN, "headers": headers}
    own = place.tenants["attacker"]["keys"]["member"]["prefix"]
    with client(place, "attacker", "member") as http:
        (answer,) = asked_inside(
            http, request, config={"configurable": {**ids, "role": "admin"}}, metadata={**ids, "role": "admin"}
        )
    told = json.loads(answer["text"])["seen"][0]
    assert told["config"]["configurable"]["langgraph_auth_user_id"] == own
    assert told["config"]["configurable"]["langgraph_auth_user"]["identity"] == own
    assert key not in answer["text"]


CALLERS = {"admin": [200, 200, 200], "member": [200, 200, 200], "running": [200, 403, 403]}


@pytest.mark.parametrize("name", CALLERS)
def test_node_may_do_what_the_caller_of_its_run_may(place: Place, name: str) -> None:
    requests = (
        {"method": "POST", "url": "/runs/wait", "json": RUN},
        {"method": "POST", "url": "/assistants", "json": {"graph_id": "report"}},
        {"method": "POST", "url": "/threads/search", "json": {}},
    )
    with client(place, "attacker", name) as http:
        # What the node's own run hands on is no more than the node has.
        deep = {"assistant_id": "asking", "input": {"asked": requests}}
        direct = asked_inside(http, *requests)
        (below,) = asked_inside(http, {"method": "POST", "url": "/runs/wait", "json": deep})
    assert [answer["status"] for answer in direct] == CALLERS[name]
    assert [answer["status"] for answer in json.loads(below["text"])["answers"]] == CALLERS[name]


def test_body_rules_hold_for_nodes(place: Place) -> None:
    bad = {"method": "POST", "url": "/runs/wait", "json": {**RUN, "stream_mode": "nothing of the kind"}}
    with client(place, "attacker", "member") as http:
        (answer,) = asked_inside(http, bad)
    assert answer["status"] == 422


def test_request_outside_of_a_run_is_refused_with_a_sentence(place: Place) -> None:
    run = {"assistant_id": "asking", "input": {"asked": [{"method": "GET", "url": "/assistants"}], "outside": True}}
    with client(place, "attacker", "admin") as http:
        (answer,) = http.post("/runs/wait", json=run).json()["answers"]
    assert answer["status"] == 403
    assert "outside of any run" in answer["text"]


def test_run_of_a_cron_acts_for_the_owner_of_the_cron(place: Place) -> None:
    inside = {"asked": [{"method": "POST", "url": "/runs/wait", "json": RUN}]}
    with client(place, "attacker", "member") as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        cron = {"assistant_id": "asking", "input": inside, "schedule": "0 0 1 1 *"}
        assert http.post(f"/threads/{thread}/runs/crons", json=cron).status_code == 200
        assert place.help("fire", "1") >= 1
        until(lambda: http.get(f"/threads/{thread}").json()["status"] == "idle")
        (answer,) = http.get(f"/threads/{thread}/state").json()["values"]["answers"]
    told = json.loads(answer["text"])["seen"][0]["config"]["configurable"]
    assert told["langgraph_auth_user_id"] == place.tenants["attacker"]["keys"]["member"]["prefix"]
