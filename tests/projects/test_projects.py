"""Every project of the corpus is installed, served and talked to, and does what its `expected.yaml` says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.projects.conftest import OTHER_SERVER, Served, server_of
from tests.projects.corpus import PROJECTS, Project
from tests.projects.environment import installed
from tests.projects.short import outline
from tests.projects.talking import HAS_NO_ANSWER, Conversation

ours_only = pytest.mark.skipif(OTHER_SERVER is not None, reason="another server says it in its own words")


class EachProject:
    """What is tested of every project of a kind, on one server per project."""

    kind: ClassVar[str]

    @ours_only
    def test_dependencies(self, served: Served) -> None:
        """They were installed by the command that `make serve` runs, which said what it left out."""
        said = served.installed.said
        assert served.installed.status == 0, said
        assert [line for line in served.project.expected.get("install", []) if not re.search(line, said)] == [], said
        absent = served.project.expected.get("absent", [])
        assert {name for name in absent if _is_installed(served, name)} == set()

    def test_assistants(self, served: Served) -> None:
        """Every graph has its assistant, under the right name."""
        found = served.http.post("/assistants/search", json={"limit": 100}).json()
        assert {item["graph_id"]: item["name"] for item in found} == served.project.expected["assistants"]

    def test_schemas(self, served: Served) -> None:
        """Every graph that can be served answers with its schemas, which are those that clients show forms for."""
        wanted = served.project.expected.get("schemas", {})
        found: dict[str, Any] = {}
        for graph_id in served.project.expected["assistants"].keys() - served.project.expected.get("broken", {}).keys():
            answer = served.http.get(f"/assistants/{_id_of(served, graph_id)}/schemas")
            schemas = answer.raise_for_status().json()
            assert schemas["graph_id"] == graph_id
            if graph_id in wanted:
                found[graph_id] = {name: outline(schemas[f"{name}_schema"]) for name in wanted[graph_id]}
        assert found == wanted

    @ours_only
    def test_broken_graphs(self, served: Served) -> None:
        """What cannot be served is named with its reason, and all else is served."""
        graphs = served.http.get("/info").json()["graphs"]
        broken = {name: graph["reason"] for name, graph in graphs.items() if graph["status"] != "ready"}
        expected = served.project.expected.get("broken", {})
        assert broken.keys() == expected.keys(), broken
        assert [reason for name, reason in broken.items() if not re.search(expected[name], reason)] == []

    def test_conversation(self, served: Served, conversation: tuple[str, str]) -> None:
        """Turns, the state after them, and what is kept for later."""
        talk = Conversation(served.server.url, served.http)
        for number, step in enumerate(served.project.expected["conversations"][conversation[1]], 1):
            wanted, taken = talk.take(step)
            if wanted is not HAS_NO_ANSWER:
                assert taken == wanted, f"step {number} of {conversation[1]!r}"

    @ours_only
    def test_warnings(self, served: Served) -> None:
        """The log warns of what is expected and of nothing else, from the start to the end of the conversations."""
        expected = list(served.project.expected.get("warnings", []))
        warned = _warnings(served.server.log)
        unexpected = [line for line in warned if not any(re.search(pattern, line) for pattern in expected)]
        missing = [pattern for pattern in expected if not any(re.search(pattern, line) for line in warned)]
        assert (unexpected, missing) == ([], [])


def _id_of(served: Served, graph_id: str) -> str:
    (assistant,) = served.http.post("/assistants/search", json={"graph_id": graph_id}).json()
    return str(assistant["assistant_id"])


def _is_installed(served: Served, package: str) -> bool:
    asked = f"import importlib.metadata as m; m.version({package!r})"
    return (
        subprocess.run([served.installed.python, "-c", asked], stderr=subprocess.DEVNULL, check=False).returncode == 0
    )


def _warnings(log: str) -> list[str]:
    """The messages of the log that are warnings or worse."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] not in ("debug", "info")]


class TestLayouts(EachProject):
    kind = "layouts"


class TestConfiguration(EachProject):
    kind = "configuration"


class TestAgents(EachProject):
    kind = "agents"


class TestGraphs(EachProject):
    kind = "graphs"


REFUSED = [project for project in PROJECTS if "refuses" in project.expected]


@ours_only
@pytest.mark.parametrize("project", REFUSED, ids=lambda project: project.name)
def test_a_start_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=project.expected["refuses"]):
        server_of(installed(project), tmp_path).start()
