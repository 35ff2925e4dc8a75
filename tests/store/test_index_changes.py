"""Vectors of one model do not compare with those of another: the store remembers which made them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest

from platform_site.core.config import ConfigError, load_config
from platform_site.core.database.postgres_pool import LoopPools
from platform_site.core.items import index as store_index
from platform_site.core.items.postgres import open_postgres_store
from platform_site.core.items.reindex import reindex
from platform_site.core.items.sqlite import open_sqlite_store
from platform_site.core.items.store import ItemStore
from tests import live
from tests.serving.conftest import manage
from tests.store.backends import Backend, Letters, keys, letters, stored_vectors


class Backwards(Letters):
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(text.count(letter)) for letter in "xyz"] for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.aembed_documents([text]))[0]


@pytest.mark.parametrize("other", [{"dims": 3}, {"name": "other"}])
async def test_another_index_is_refused_with_the_command_that_helps(backend: Backend, other: dict[str, Any]) -> None:
    await backend.workspace(letters()).aput(("n",), "k", {"t": "a"})

    with pytest.raises(ConfigError, match=r"manage\.py reindex_store"):
        await backend.workspace(letters(**other)).aput(("n",), "k", {"t": "a"})


async def opened_anew(backend: Backend, embedder: Any) -> tuple[ItemStore, Any]:
    if backend.kind == "postgres":
        pools = LoopPools(backend.url)
        store, _ = await open_postgres_store(pools, embedder, anew=True)
        return store, pools.close_current
    return await open_sqlite_store(backend.directory / "store.sqlite3", embedder, connect=backend.connect, anew=True)


async def test_reindexing_makes_every_vector_anew_as_the_items_asked(backend: Backend) -> None:
    first = backend.workspace(letters(fields=["t"]))
    for number in range(120):
        await first.aput(("n",), f"k{number:03}", {"t": "a", "u": "z"})
    await first.aput(("n",), "other", {"t": "a", "u": "y"}, index=["u"])
    await first.aput(("n",), "not", {"t": "a", "u": "y"}, index=False)

    other = letters(Backwards(), dims=3, fields=["t", "u"], name="backwards")
    store, close = await opened_anew(backend, other)
    with pytest.raises(ConfigError, match="an unfinished reindex_store"):
        await backend.workspace(other).asearch(())
    counted = await reindex(store)
    await close()

    after = backend.workspace(other)
    after._label = first._label
    assert counted == (122, 241)
    assert len(await stored_vectors(after)) == 241
    assert await keys(after.asearch(("n",), query="y", limit=1)) == ["other"]
    assert "not" not in await keys(after.asearch(("n",), query="y", limit=200))


async def test_items_put_before_there_was_an_index_are_embedded_too(backend: Backend) -> None:
    first = backend.workspace()
    await first.aput(("n",), "early", {"t": "a"})
    await first.aput(("n",), "never", {"t": "a"}, index=False)
    store, close = await opened_anew(backend, letters(fields=["t"]))
    await reindex(store)
    await close()

    after = backend.workspace(letters(fields=["t"]))
    after._label = first._label
    assert await keys(after.asearch((), query="a")) == ["early"]


@pytest.fixture
def no_pgvector(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a database server answers where the package is not installed."""
    monkeypatch.setattr(store_index, "CREATE_EXTENSION", "CREATE EXTENSION IF NOT EXISTS no_such_extension")


@pytest.mark.postgres
@pytest.mark.usefixtures("no_pgvector")
async def test_a_database_without_pgvector_is_named(postgres_url: str) -> None:
    pools = LoopPools(postgres_url)
    with pytest.raises(ConfigError, match="needs the PostgreSQL extension pgvector"):
        await open_postgres_store(pools, letters())
    await pools.close_current()


@pytest.mark.postgres
@pytest.mark.usefixtures("no_pgvector")
async def test_the_samples_do_without_it(postgres_url: str) -> None:
    pools = LoopPools(postgres_url)
    store, _ = await open_postgres_store(pools, letters(), without_index=True)
    await store.aput(("1", "n"), "k", {"t": "a"})

    assert [(item.key, item.score) for item in await store.asearch(("1",), query="a")] == [("k", None)]
    assert store_index.is_optional(load_config(None))
    await pools.close_current()


@pytest.mark.postgres
async def test_a_role_that_may_not_create_the_extension_is_told(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain_user")
        connection.execute("CREATE ROLE plain_user LOGIN")
        connection.execute("GRANT ALL ON SCHEMA public TO plain_user")
        pools = LoopPools(psycopg.conninfo.make_conninfo(postgres_url, user="plain_user"))
        with pytest.raises(ConfigError, match="CREATE EXTENSION vector"):
            await open_postgres_store(pools, letters())
        # Once its superuser has made it, it works.
        connection.execute("CREATE EXTENSION vector")
        await open_postgres_store(pools, letters())
        await pools.close_current()
        connection.execute("DROP OWNED BY plain_user")
        connection.execute("DROP ROLE plain_user")


def project(directory: Path, dims: int) -> Path:
    counted = f"[float(text.count(letter)) for letter in 'abcdef'[:{dims}]]"
    (directory / "functions.py").write_text(f"def embed(texts):\n    return [{counted} for text in texts]\n")
    (directory / "graph.py").write_text((live.ROOT / "tests" / "store" / "project" / "graphs.py").read_text())
    index = {"dims": dims, "embed": "./functions.py:embed", "fields": ["text"]}
    path = directory / "langgraph.json"
    path.write_text(json.dumps({"dependencies": [], "graphs": {"g": "./graph.py:keeper"}, "store": {"index": index}}))
    return path


def reindexed(config: Path, data: Path, url: str) -> subprocess.CompletedProcess[str]:
    return manage("reindex_store", LANGGRAPH_CONFIG=str(config), DATA_DIR=str(data), DATABASE_URL=url)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_server_refuses_to_start_until_the_command_has_run(
    kind: str, request: pytest.FixtureRequest, start_server: Callable[..., live.LiveServer], tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    environment = {"DATABASE_URL": url} if url else {}
    server = start_server(project(tmp_path, 3), **environment)
    item = {"namespace": ["n"], "key": "k", "value": {"text": "d"}}
    assert httpx.put(f"{server.url}/store/items", json=item).status_code == 204
    server.terminate()

    config = project(tmp_path, 6)
    server.launch()
    assert server.process is not None
    assert server.process.wait(60) == 1
    assert "`store.index` of langgraph.json asks for 6 numbers" in server.log
    assert "Traceback" not in server.log

    done = reindexed(config, server.data_dir, url)
    assert done.returncode == 0, done.stderr
    assert "1 items in" in done.stdout
    assert "1 vectors by ./functions.py:embed" in done.stdout
    server.start()
    found = httpx.post(f"{server.url}/store/items/search", json={"query": "d"}).json()["items"]
    assert [(item["key"], item["score"]) for item in found] == [("k", 1.0)]
    server.stop()


@pytest.mark.postgres
def test_a_server_does_not_start_on_a_database_that_cannot_have_vectors(
    postgres_url: str, start_server: Callable[..., live.LiveServer], tmp_path: Path
) -> None:
    # Whoever may not create the extension is as badly off as who has none.
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain_owner")
        connection.execute("CREATE ROLE plain_owner LOGIN")
        connection.execute("GRANT ALL ON SCHEMA public TO plain_owner")
    url = urlsplit(postgres_url)
    plain = url._replace(netloc=f"plain_owner@{url.netloc.rpartition('@')[2]}")
    refused = manage(
        "serve",
        LANGGRAPH_CONFIG=str(project(tmp_path, 3)),
        DATA_DIR=str(tmp_path / "d"),
        DATABASE_URL=urlunsplit(plain),
    )
    assert refused.returncode == 1
    assert "needs the PostgreSQL extension pgvector" in refused.stderr
    assert "Traceback" not in refused.stderr
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY plain_owner")
        connection.execute("DROP ROLE plain_owner")


def test_the_command_needs_an_index_and_the_directory_to_itself(
    start_server: Callable[..., live.LiveServer], tmp_path: Path
) -> None:
    none = reindexed(live.CONTRACT_CONFIG, tmp_path, "")
    assert none.returncode == 1
    assert "has no `store.index`" in none.stderr

    server = start_server(project(tmp_path, 3))
    taken = reindexed(tmp_path / "langgraph.json", server.data_dir, "")
    assert taken.returncode == 1
    assert "Traceback" not in taken.stderr
    server.stop()


def test_a_server_does_not_start_with_an_embedding_that_is_not_there(tmp_path: Path) -> None:
    config = project(tmp_path, 3)
    config.write_text(config.read_text().replace("functions.py", "nowhere.py"))
    refused = manage("serve", "--port", "0", LANGGRAPH_CONFIG=str(config), DATA_DIR=str(tmp_path / "data"))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "`store.index.embed`: ./nowhere.py:embed: there is no file" in refused.stderr


def test_the_sentence_names_both() -> None:
    store_index.compare((4, "a"), (4, "a"))
    with pytest.raises(ConfigError, match="5 numbers by `b`, but the vectors in the store are 4 numbers by `a`"):
        store_index.compare((4, "a"), (5, "b"))
