"""A tenant with something of everything, and a secret in each of it."""

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.tenants.places import Place
from tests.webhooks.receiving import Receiver

CANARY = f"canary{uuid4().hex}"
# What the attacker sends where it has no id of the victim.
MARK = "the-attacker-was-here"
FAR = 10**8


@dataclass
class Victim:
    """The victim's ids; its secrets all hold `CANARY`."""

    ids: dict[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """Every id that is a text."""
        return list(dict.fromkeys(value for value in self.ids.values() if isinstance(value, str)))


def client(place: Place, slug: str, name: str) -> httpx.Client:
    key = place.tenants[slug]["keys"][name]["key"]
    return httpx.Client(base_url=place.url, headers={"X-Api-Key": key}, timeout=60)


def settle(victim: Victim, place: Place, receiver: Receiver) -> None:
    """Make what the victim has, until nothing of it moves any more."""
    with client(place, "victim", "admin") as http:

        def post(path: str, body: Any, method: str = "POST") -> Any:
            answer = http.request(method, path, json=body)
            assert answer.status_code < 300, (path, answer.text)
            return answer.json() if answer.content else None

        secret = {"secret": CANARY}
        assistant = post("/assistants", {"graph_id": "report", "name": CANARY, "metadata": secret,
                                         "config": {"configurable": secret, "tags": [CANARY]}})  # fmt: skip
        thread = post("/threads", {"metadata": secret})["thread_id"]
        run = {"assistant_id": assistant["assistant_id"], "input": {"asked": CANARY}, "metadata": secret}
        post(f"/threads/{thread}/runs/wait", {**run, "webhook": f"{receiver.url}&secret={CANARY}"})
        made = http.get(f"/threads/{thread}/runs").json()[0]
        post(f"/threads/{thread}/runs", {**run, "after_seconds": FAR})
        cron = {**run, "schedule": "0 0 1 1 *", "enabled": False}
        cron_id = post(f"/threads/{thread}/runs/crons", cron)["cron_id"]
        post("/runs/crons", cron)
        post("/store/items", {"namespace": ["victims", "own"], "key": "victimkey", "value": secret}, "PUT")
        state = http.get(f"/threads/{thread}/state").json()
    delivery = receiver.wait(1)[0].headers["webhook-id"]
    tenant = place.tenants["victim"]
    prefix = tenant["keys"]["admin"]["prefix"]
    _until(lambda: _delivered(place))
    victim.ids = {
        "thread_id": thread,
        "run_id": made["run_id"],
        "assistant_id": assistant["assistant_id"],
        "cron_id": cron_id,
        "checkpoint_id": state["checkpoint"]["checkpoint_id"],
        "key": "victimkey",
        "namespace": ["victims", "own"],
        "namespace_prefix": [str(tenant["id"])],
        "prefix": f"{tenant['id']}.victims.own",
        "checkpoint_map": {"": state["checkpoint"]["checkpoint_id"]},
        "delivery_id": delivery,
        "workspace": "victim",
        "workspace_id": tenant["id"],
        "api_key": prefix,
        "api_key_id": tenant["keys"]["admin"]["id"],
        "langgraph_auth_user": {"identity": prefix, "display_name": "admin", "permissions": ["*"]},
        "langgraph_auth_user_id": prefix,
        "langgraph_auth_permissions": ["*:write"],
        "langgraph_request_id": "forged",
        "user_id": prefix,
        "identity": prefix,
        "owner": prefix,
        # Another name for the same graph, which nobody runs: where it arrives it is seen.
        "graph_id": "other",
        "mark": MARK,
    }


def _delivered(place: Place) -> bool:
    return all("'delivered'" in row for row in place.rows_of("victim").get("webhooks_webhookdelivery", ()))


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.05)


until = _until
