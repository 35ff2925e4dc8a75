"""The projects of the corpus: a folder each, with the files of the project and `expected.yaml` beside them.

README.md says what may stand in an `expected.yaml`.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
# What a folder shows first: where files lie, what is configured, what agents are built with, what graphs look like.
KINDS = ("layouts", "configuration", "agents", "graphs")


@dataclass(frozen=True)
class Project:
    """One project, and what is expected of it."""

    name: str

    @property
    def folder(self) -> Path:
        return HERE / self.name

    @cached_property
    def expected(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.folder / "expected.yaml").read_text(encoding="utf-8"))
        return found

    @property
    def kind(self) -> str:
        return str(self.expected["kind"])

    @property
    def config(self) -> Path:
        """Return the path of the langgraph.json inside the folder. A monorepo has it further down."""
        return Path(self.expected.get("config", "langgraph.json"))

    @property
    def conversations(self) -> list[str]:
        """Return the names of the conversations, in order."""
        return list(self.expected.get("conversations", {}))


PROJECTS = [Project(path.parent.name) for path in sorted(HERE.glob("*/expected.yaml"))]
