"""GET /assistants/{assistant_id}/graph, /schemas and /subgraphs"""

from uuid import uuid4

import pytest

from assistants import schemas
from assistants.services import ensure_default_assistants
from platform_site.core.database.access import in_db
from platform_site.core.graphs.registry import registry
from tests.api_client import ApiClient
from tests.assistants.conftest import Make


@pytest.fixture
async def path(make: Make) -> str:
    """An assistant on the sample with nested subgraphs."""
    return f"/assistants/{(await make(graph_id='research'))['assistant_id']}"


def nodes(body: bytes) -> set[str]:
    return {node.id for node in schemas.Graph.model_validate_json(body).nodes}


async def test_drawing(api: ApiClient, path: str) -> None:
    answer = await api.get(path + "/graph")
    assert answer.status_code == 200
    assert {"id": "plan", "type": "runnable", "data": {"name": "plan"}} in answer.json()["nodes"]
    assert {"id": "__end__"} in answer.json()["nodes"]
    assert {"source": "__start__", "target": "plan"} in answer.json()["edges"]


@pytest.mark.parametrize("xray", ["true", "True", "2", "99999999999999999999"])
async def test_xray_shows_what_is_inside(api: ApiClient, path: str, xray: str) -> None:
    assert "archive:check:judge" in nodes((await api.get(f"{path}/graph?xray={xray}")).content)


async def test_xray_to_a_depth(api: ApiClient, path: str) -> None:
    shown = nodes((await api.get(f"{path}/graph?xray=1")).content)
    assert "archive:check" in shown
    assert "archive:check:judge" not in shown


async def test_xray_off(api: ApiClient, path: str) -> None:
    assert "archive" in nodes((await api.get(f"{path}/graph?xray=false")).content)


@pytest.mark.parametrize("xray", ["0", "-1", "abc", "", "1.5", "²"])
async def test_bad_xray(api: ApiClient, path: str, xray: str) -> None:
    answer = await api.get(f"{path}/graph", params={"xray": xray})
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid xray value"})


async def test_graph_id_stands_for_the_default_assistant(api: ApiClient) -> None:
    assert (await api.get("/assistants/research/graph")).status_code == 404
    await in_db(ensure_default_assistants, registry().ids)
    assert "plan" in nodes((await api.get("/assistants/research/graph")).content)


async def test_schemas(api: ApiClient, path: str) -> None:
    answer = await api.get(path + "/schemas")
    assert answer.status_code == 200
    found = schemas.GraphSchemas.model_validate_json(answer.content)
    assert found.graph_id == "research"
    assert "question" in (found.input_schema or {})["properties"]


async def test_subgraphs(api: ApiClient, path: str) -> None:
    answer = await api.get(path + "/subgraphs")
    assert answer.status_code == 200
    assert set(answer.json()) == {"archive", "people"}
    for found in answer.json().values():
        schemas.SubgraphSchemas.model_validate(found)


async def test_subgraphs_of_subgraphs(api: ApiClient, path: str) -> None:
    assert "archive|check" in (await api.get(path + "/subgraphs?recurse=true")).json()


async def test_subgraph_of_a_namespace(api: ApiClient, path: str) -> None:
    assert set((await api.get(path + "/subgraphs/archive")).json()) == {"archive"}
    assert (await api.get(path + "/subgraphs/nope")).json() == {}


async def test_subgraph_of_a_namespace_inside_another(api: ApiClient, path: str) -> None:
    assert set((await api.get(path + "/subgraphs/archive%7Ccheck")).json()) == {"archive|check"}
    assert set((await api.get(path + "/subgraphs/archive?recurse=true")).json()) == {"archive"}
    assert (await api.get(path + "/subgraphs/archive%7Cnope")).json() == {}


async def test_bad_recurse(api: ApiClient, path: str) -> None:
    for part in ("subgraphs", "subgraphs/archive"):
        answer = await api.get(f"{path}/{part}?recurse=perhaps")
        assert (answer.status_code, answer.json()) == (422, {"detail": '"perhaps" is not of type "boolean"'})


async def test_graph_without_subgraphs(api: ApiClient, make: Make) -> None:
    made = await make(graph_id="slow")
    assert (await api.get(f"/assistants/{made['assistant_id']}/subgraphs")).json() == {}


@pytest.mark.parametrize("part", ["graph", "schemas", "subgraphs", "subgraphs/x"])
async def test_unknown_assistant(api: ApiClient, part: str) -> None:
    answer = await api.get(f"/assistants/{uuid4()}/{part}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_broken_graph_is_named_with_its_reason(
    api: ApiClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().failures, "research", "no module named 'x'")
    answer = await api.get(path + "/graph")
    assert answer.status_code == 503
    assert "no module named 'x'" in answer.json()["detail"]
