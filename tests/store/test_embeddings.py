"""What `store.index.embed` may name, and how it is said that it cannot be used."""

import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from platform_site.core import loops
from platform_site.core.config import ConfigError, load_config
from platform_site.core.items.embeddings import Embedder, check_embed, embedder
from platform_site.core.loops import BackgroundLoop

FUNCTIONS = """
def plain(texts):
    return [[float(len(text))] for text in texts]

async def awaited(texts):
    return [[float(len(text))] for text in texts]

from langchain_core.embeddings import DeterministicFakeEmbedding
model = DeterministicFakeEmbedding(size=1)
number = 5

import threading

async def where(texts):
    return [[float(threading.current_thread().name == "loop of graphs")] for text in texts]

class Model(DeterministicFakeEmbedding):
    async def aembed_documents(self, texts):
        return await where(texts)

own_model = Model(size=1)
"""


def configured(directory: Path, embed: str, **index: Any) -> Embedder:
    """The embedder of a project in the directory."""
    (directory / "functions_of_ours.py").write_text(FUNCTIONS)
    (directory / "broken.py").write_text("import nowhere_at_all\n")
    (directory / "graph.py").write_text("graph = None\n")
    written = {
        "dependencies": ["."],
        "graphs": {"g": "./graph.py:graph"},
        "store": {"index": {"dims": 1, "embed": embed, **index}},
    }
    path = directory / "langgraph.json"
    path.write_text(json.dumps(written))
    config = load_config(path)
    check_embed(config)
    made = embedder(config)
    assert made is not None
    return made


@pytest.mark.parametrize("name", ["plain", "awaited", "model"])
async def test_a_file_is_relative_to_the_config_and_names_a_function_or_a_model(tmp_path: Path, name: str) -> None:
    made = configured(tmp_path, f"./functions_of_ours.py:{name}")

    documents, query = await made.documents(["abc", "abc", "ab"]), await made.query("abc")

    assert documents[0] == documents[1]
    assert len(documents) == 3
    assert name == "model" or (documents == [[3.0], [3.0], [2.0]] and query == [3.0])
    assert len(query) == 1


@pytest.mark.parametrize("name", ["where", "own_model"])
async def test_asynchronous_code_of_the_project_is_called_on_the_loop_of_the_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made, loop = configured(tmp_path, f"./functions_of_ours.py:{name}"), BackgroundLoop("loop of graphs")
    loop.start()
    monkeypatch.setattr(loops, "_graphs", loop)

    here = await made.documents(["a"])
    elsewhere = await asyncio.to_thread(lambda: asyncio.run(made.documents(["b"])))
    loop.stop()

    assert here == elsewhere == [[1.0]]


async def test_a_module_may_be_named_as_well(tmp_path: Path) -> None:
    made = configured(tmp_path, "platform_site.samples.embedding:embed", dims=256, fields=["text"])

    assert made.fields == ("text",)
    assert len(await made.query("bicycle")) == 256


@pytest.mark.parametrize(
    ("embed", "said"),
    [
        ("./nowhere.py:embed", "there is no file"),
        ("./functions_of_ours.py:missing", "has no `missing`; it defines"),
        ("./functions_of_ours.py:number", "is neither"),
        ("./broken.py:embed", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("no_such.module:embed", "No module named 'no_such'"),
        ("nonsense", "expected `provider:model` or `path/to/file.py:name`, not 'nonsense'"),
        # In the words of LangChain, which is installed for these tests; its providers' packages are not.
        ("openai:text-embedding-3-small", "pip install langchain-openai"),
        ("ollama:mxbai/embed:335m", "pip install langchain-ollama"),
        ("nobody:model", "Provider 'nobody' is not supported"),
    ],
)
def test_what_cannot_be_used_stops_the_start_with_a_reason(tmp_path: Path, embed: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, embed)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'langgraph.json'}: `store.index.embed`: ")


def test_without_langchain_it_is_the_package_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.embeddings", None)
    with pytest.raises(ConfigError, match="needs the package `langchain` and the one of its provider"):
        configured(tmp_path, "openai:text-embedding-3-small")


async def test_a_provider_is_resolved_by_langchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model(DeterministicFakeEmbedding):
        def __init__(self, model: str) -> None:
            super().__init__(size=len(model))

    provider = ModuleType("langchain_ollama")
    provider.OllamaEmbeddings = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain_ollama", provider)
    made = configured(tmp_path, "ollama:a/b:c", dims=5)

    assert len(await made.query("text")) == 5


@pytest.mark.parametrize("index", [{"dims": 0}, {"dims": 16_001}, {"dims": "x"}, {"fields": "text"}, {"embed": ""}])
def test_a_section_of_the_wrong_form_is_refused(tmp_path: Path, index: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"store\.index"):
        configured(tmp_path, **{"embed": "./functions_of_ours.py:plain", **index})
