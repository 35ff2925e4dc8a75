"""The recorded webhooks, on a server whose config allows loopback, with a receiver on the recorded place."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.contract.matching import differences
from tests.contract.replay import Exchange, Session, load, replay
from tests.live import CONTRACT_CONFIG
from tests.webhooks.receiving import Receiver, receiving

CONFIG = CONTRACT_CONFIG.parent / "langgraph_webhooks.json"
RECORDED_PLACE = "localhost:2335"
# A run keeps the config it was given; see tests/contract/due.py.
MEANT = ("$.kwargs.config.metadata.run_attempt: missing",)


def here(exchange: Exchange, receiver: Receiver) -> Exchange:
    """The exchange with the receiver's place for the recorded one."""

    def moved(part: Any) -> Any:
        return json.loads(json.dumps(part).replace(RECORDED_PLACE, f"localhost:{receiver.port}"))

    return Exchange(exchange.file, exchange.index, moved(exchange.request), moved(exchange.response))


def test_recorded_webhooks_are_delivered_alike(start_server: Any) -> None:
    server = start_server(CONFIG)
    found: list[str] = []
    with receiving() as receiver, httpx.Client(base_url=server.url, timeout=30) as http:
        session = Session(http)
        session.thread(2)
        arrived = 0
        for exchange in load("27_webhooks")[5:]:
            exchange = here(exchange, receiver)
            if exchange.request["path"].startswith("/hook"):
                arrived += 1
                received = receiver.wait(arrived)[-1]
                session.ids.begin_exchange()
                assert received.path == exchange.request["path"]
                assert received.headers["content-type"] == exchange.request["headers"]["content-type"]
                reported = differences(exchange.request["json"], received.body, session.ids)
            else:
                reported = replay(exchange, session)
            found += [f"{exchange.title}: {what}" for what in reported if not what.startswith(MEANT)]
    assert not found, "\n".join(found)


def test_config_is_the_recorded_one() -> None:
    assert json.loads(Path(CONFIG).read_text())["webhooks"]["url"]["disable_loopback"] is False
