"""The memory sample, on the server's own store with the samples' own embedding."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import BaseStore
from langgraph_sdk import get_client

from platform_site.core.config import load_config
from platform_site.core.items.embeddings import embedder
from platform_site.core.items.sqlite import open_sqlite_store
from platform_site.samples import memory
from platform_site.samples.embedding import DIMS, embed
from tests import live


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BaseStore]:
    store, close = await open_sqlite_store(tmp_path / "store.sqlite3", embedder(load_config(None)))
    yield store
    await close()


async def said(store: BaseStore, text: str, person: str = "ada") -> str:
    """The answer to a message on a new thread."""
    context: Any = {"person": person}
    # The server gives every graph its store.
    graph = memory.graph.copy(update={"store": store})
    state = await graph.ainvoke({"messages": [HumanMessage(text)]}, context=context)
    return str(state["messages"][-1].text)


async def test_it_finds_what_it_was_told(store: BaseStore) -> None:
    await said(store, "Remember that my bicycle is in the cellar.")
    await said(store, "please remember: Grace likes green tea")

    assert await said(store, "Where is my bicycle?") == "You told me:\n- my bicycle is in the cellar."
    assert "Grace likes green tea" in await said(store, "What kind of tea does Grace like?")
    assert "I know nothing about that" in await said(store, "Qwxz?")


async def test_people_have_memories_of_their_own(store: BaseStore) -> None:
    await said(store, "Remember that my bicycle is in the cellar.", "ada@example.com")

    assert "I know nothing" in await said(store, "Where is my bicycle?", "bob@example.com")
    assert "in the cellar" in await said(store, "Where is my bicycle?", "ada@example.com")


def product(left: list[float], right: list[float]) -> float:
    return sum(one * other for one, other in zip(left, right, strict=True))


def test_the_embedding_is_the_same_everywhere_and_nearer_for_what_is_alike() -> None:
    bicycle, bicycles, tea, nothing = embed(["bicycle", "Bicycles!", "green tea", ""])

    assert {len(vector) for vector in (bicycle, bicycles, tea, nothing)} == {DIMS}
    assert math.hypot(*bicycle) == pytest.approx(1)
    assert product(bicycle, bicycles) > 0.5 > product(bicycle, tea)
    assert [index for index, number in enumerate(embed(["ab"])[0]) if number] == [116, 139]


async def test_the_server_remembers_over_threads_and_shows_the_memories(samples_server: live.LiveServer) -> None:
    async with get_client(url=samples_server.url) as client:
        assistant = await client.assistants.create("memory", context={"person": "turing"})

        async def say(text: str) -> str:
            message: Any = {"role": "user", "content": text}
            state: Any = await client.runs.wait(None, assistant["assistant_id"], input={"messages": [message]})
            return str(state["messages"][-1]["content"])

        await say("Remember that the machine halts on Fridays.")
        assert "- the machine halts on Fridays." in await say("When does the machine halt?")
        found: Any = await client.store.search_items(["memories", "turing"], query="machine")

    assert [item["value"] for item in found["items"]] == [{"text": "the machine halts on Fridays."}]
    assert 0 < found["items"][0]["score"] < 1


async def test_it_says_what_to_do_when_nothing_is_said(store: BaseStore) -> None:
    await said(store, "Remember that my bicycle is in the cellar.")
    graph = memory.graph.copy(update={"store": store})
    state = await graph.ainvoke({"messages": []}, context=memory.Owner("ada"))
    assert "Tell me" in state["messages"][-1].text
