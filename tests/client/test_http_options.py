"""A server that is set up by langgraph.json: prefix, headers, variables, a default config, origins."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests import live
from tests.client.waiting import until
from tests.core.projects import write
from tests.live import Client

AGENT = """
import os
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

# Read while the graph is imported.
GREETING = os.environ["GREETING"]


class State(TypedDict, total=False):
    greeting: str
    seen: dict[str, Any]
    tags: list[str]


def look(state: State, config: RunnableConfig) -> State:
    seen = {key: value for key, value in config["configurable"].items() if isinstance(value, str)}
    return {"greeting": GREETING, "seen": seen, "tags": config["tags"]}


graph = StateGraph(State).add_node("look", look).add_edge(START, "look").add_edge("look", END).compile()
"""
DEFAULTS = {"tags": ["default"], "recursion_limit": 9, "configurable": {"model": "small", "tone": "flat"}}
CONFIGS = json.dumps({"agent": DEFAULTS})
CORS = {
    "allow_origins": ["https://app.example.com"],
    "allow_origin_regex": r"https://[a-z]+\.example\.org",
    "allow_methods": ["GET", "POST"],
    "allow_headers": ["X-Team", "Content-Type"],
    "expose_headers": ["X-Own"],
    "allow_credentials": True,
    "max_age": 60,
}


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live.LiveServer]:
    path = write(
        tmp_path_factory.mktemp("project"),
        {"agent.py": AGENT, ".env": f"GREETING=hello\nLANGGRAPH_CONFIG='{CONFIGS}'\n"},
        graphs={"agent": "./agent.py:graph"},
        env=".env",
        http={
            "mount_prefix": "/api",
            "configurable_headers": {"includes": ["x-team*"], "excludes": ["x-team-secret"]},
            "logging_headers": {"includes": ["x-team*"]},
            "cors": CORS,
        },
    )
    environment = {"LOG_LEVEL": "debug", "LOG_FORMAT": "json"}
    server = live.LiveServer(path, tmp_path_factory.mktemp("server"), environment, prefix="/api")
    yield server.start()
    server.stop()


@pytest.fixture
async def prefixed(configured: live.LiveServer) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=f"{configured.url}/api", headers={"X-Team": "7", "X-Team-Secret": "no"}) as client:
        yield client


async def seen(client: Client, **options: Any) -> Any:
    return await client.runs.wait(None, "agent", input={}, **options)


async def test_variables_are_there_before_graphs_are_imported(prefixed: Client) -> None:
    assert (await seen(prefixed))["greeting"] == "hello"


async def test_chosen_headers_reach_the_run(prefixed: Client) -> None:
    found = (await seen(prefixed))["seen"]
    assert found["x-team"] == "7"
    assert not {"x-team-secret", "user-agent", "x-api-key"} & found.keys()


async def test_default_config_of_a_graph_is_below_the_requests(prefixed: Client) -> None:
    plain = await seen(prefixed)
    assert (plain["seen"]["model"], plain["seen"]["tone"], plain["tags"]) == ("small", "flat", ["default"])
    asked = await seen(prefixed, config={"configurable": {"model": "large"}, "tags": ["mine"]})
    assert (asked["seen"]["model"], asked["seen"]["tone"], asked["tags"]) == ("large", "flat", ["mine"])


async def test_default_config_is_that_of_the_system_assistant_and_of_no_other(prefixed: Client) -> None:
    thread = (await prefixed.threads.create())["thread_id"]
    run = await prefixed.runs.create(thread, "agent", input={})
    assert run["kwargs"]["config"]["recursion_limit"] == 9
    assert (await prefixed.assistants.get(run["assistant_id"]))["config"] == DEFAULTS

    made = await prefixed.assistants.create("agent", config={"tags": ["mine"]})
    own = await prefixed.runs.wait(None, made["assistant_id"], input={})
    assert (made["config"], own["tags"], "model" in own["seen"]) == ({"tags": ["mine"]}, ["mine"], False)


async def test_a_stream_under_the_prefix_can_be_joined_again(prefixed: Client, configured: live.LiveServer) -> None:
    thread = (await prefixed.threads.create())["thread_id"]
    body = {"assistant_id": "agent", "input": {}, "stream_resumable": True}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{configured.url}/api/threads/{thread}/runs/stream", json=body)
        location = answer.headers["location"]
        assert location.startswith(f"/api/threads/{thread}/runs/")
        assert answer.headers["content-location"] == location.removesuffix("/stream")
        again = await http.get(configured.url + location, headers={"Last-Event-ID": "-1"})
    assert again.text == answer.text
    # The official client puts what it was sent behind its base URL.
    joined = await prefixed.http.client.get(location, headers={"Last-Event-ID": "-1"})
    assert joined.text == answer.text


async def test_chosen_headers_are_in_the_log(prefixed: Client, configured: live.LiveServer) -> None:
    await prefixed.assistants.count()

    async def is_written() -> bool:
        # The line comes after the answer.
        return "/assistants/count" in configured.log.rpartition("\n")[0]

    await until(is_written)
    lines = [json.loads(line) for line in configured.log.splitlines() if "/assistants/count" in line]
    assert [line["headers"] for line in lines] == [{"x-team": "7", "x-team-secret": "no"}]


def preflight(server: live.LiveServer, origin: str, method: str = "POST") -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x-team"}
    return httpx.options(f"{server.url}/api/threads", headers=headers)


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://abc.example.org", "http://localhost:3000"])
def test_pages_of_allowed_origins_may_ask(configured: live.LiveServer, origin: str) -> None:
    answer = preflight(configured, origin)
    assert (answer.status_code, answer.text) == (200, "OK")
    allowed = {name: value for name, value in answer.headers.items() if name.startswith("access-control")}
    assert allowed.pop("access-control-expose-headers").endswith(", X-Own")
    assert allowed == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "X-Team, Content-Type",
        "access-control-allow-credentials": "true",
        "access-control-max-age": "60",
    }
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example.com", "https://a1.example.org", "null"])
def test_pages_of_other_origins_may_not(configured: live.LiveServer, origin: str) -> None:
    answer = preflight(configured, origin)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
