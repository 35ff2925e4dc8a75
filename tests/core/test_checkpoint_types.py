"""Which classes of a project come back from a checkpoint, and which names in a checkpoint lead nowhere."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from platform_site.core.checkpoints.serializers import serializer
from platform_site.core.serialization.forms import KEYWORDS, SINGLE_ARGUMENT
from platform_site.core.serialization.serializer import Losses
from platform_site.core.serialization.types import TypeRules
from tests.core.projects import clean_imports, read

MODELS = """
from dataclasses import dataclass
from enum import Enum
from pydantic import BaseModel

@dataclass
class Order:
    number: int

    @dataclass
    class Line:
        text: str

Alias = Order

class Colour(Enum):
    RED = "red"

def make(number):
    raise AssertionError("called")

class Ordinary:
    def __init__(self, **values):
        raise AssertionError("called")

def local():
    @dataclass
    class Local:
        number: int
    return Local(1)
"""


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path) -> Iterator[None]:
    with clean_imports(tmp_path):
        yield


def project(directory: Path, files: dict[str, str], **config: Any) -> TypeRules:
    loaded = read(directory, {"agent.py": "", **files}, **config)
    loaded.apply()
    return loaded.type_rules


def imported(name: str) -> Any:
    return __import__(name, fromlist=["x"])


def stored(module: str, name: str, value: Any, code: int = KEYWORDS) -> tuple[str, bytes]:
    """A value as a checkpoint may hold it, whoever wrote it."""
    return "msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb([module, name, value, {}])))


def read_back(rules: TypeRules, value: Any, names: Any = ()) -> Any:
    serde = serializer(names, rules)
    return serde.loads_typed(serde.dumps_typed(value))


def losses_of(rules: TypeRules, data: tuple[str, bytes]) -> tuple[Any, list[str]]:
    losses = Losses()
    value = serializer((), rules).noting(losses).loads_channel("plan", data)
    return value, [str(loss) for loss in losses]


def test_a_data_class_of_the_project_comes_back(tmp_path: Path) -> None:
    rules = project(tmp_path, {"models.py": MODELS})
    models = imported("models")
    values = [models.Order(1), models.Order.Line("a"), models.Colour.RED]
    assert read_back(rules, values) == values


def test_a_class_in_an_editable_dependency_comes_back(tmp_path: Path) -> None:
    files = {"libs/shop/src/shop/__init__.py": "", "libs/shop/src/shop/models.py": MODELS}
    rules = project(tmp_path, files, dependencies=[".", "./libs/shop"])
    order = imported("shop.models").Order(1)
    assert read_back(rules, order) == order


def test_a_dependency_beside_the_project_is_the_project_too(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "shared_models.py").write_text(MODELS)
    rules = project(tmp_path / "app", {}, dependencies=[".", "../common"])
    order = imported("shared_models").Order(1)
    assert read_back(rules, order) == order


@pytest.mark.parametrize("place", [".venv/lib/python3/site-packages", "env/lib", "__pypackages__/3.12/lib"])
def test_an_environment_inside_the_project_is_not_the_project(tmp_path: Path, place: str) -> None:
    rules = project(tmp_path, {f"{place}/foreign_models.py": MODELS, "env/pyvenv.cfg": ""})
    sys.path.append(str(tmp_path / place))
    assert read_back(rules, imported("foreign_models").Order(1)) == {"number": 1}


def test_a_class_of_an_installed_package_does_not_come_back(tmp_path: Path) -> None:
    from langchain_core.outputs import Generation

    rules = project(tmp_path, {})
    assert read_back(rules, Generation(text="a"))["text"] == "a"


@pytest.mark.parametrize("name", ["make", "Alias", "Ordinary", "Order.__init__", "BaseModel", "Missing"])
def test_what_is_no_data_class_of_the_module_itself_is_not_called(tmp_path: Path, name: str) -> None:
    rules = project(tmp_path, {"models.py": MODELS})
    imported("models")
    value, told = losses_of(rules, stored("models", name, {"number": 1}))
    assert value == {"number": 1}
    assert told[0].startswith(f"`plan` was stored as models.{name} and cannot be rebuilt, because ")


@pytest.mark.parametrize(
    "named", [("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("platform_site.core.scope", "Scope")]
)
def test_no_name_leads_to_other_code(tmp_path: Path, named: tuple[str, str]) -> None:
    every = TypeRules(directories=(tmp_path,), every_data_class=True)
    value, told = losses_of(every, stored(*named, "touch /tmp/attacked", SINGLE_ARGUMENT))
    assert value == "touch /tmp/attacked"
    assert len(told) == 1


@pytest.mark.parametrize("module", ["platform_site.core.config", "dataclasses", "pydantic.main"])
def test_a_project_around_the_server_owns_neither_it_nor_python(module: str) -> None:
    # As where `langgraph.json` lies in the directory above everything.
    rules = TypeRules(directories=(Path("/"),))
    assert not rules.owns(module)
    assert rules.owns(__name__)


def test_a_class_inside_a_function_is_told_of(tmp_path: Path) -> None:
    rules = project(tmp_path, {"models.py": MODELS})
    serde = serializer((), rules)
    value, told = losses_of(rules, serde.dumps_typed(imported("models").local()))
    assert value == {"number": 1}
    assert "a class inside a function cannot be found again" in told[0]


def test_a_module_that_is_not_imported_yet_is_imported_for_a_class_that_it_defines(tmp_path: Path) -> None:
    rules = project(tmp_path, {"lazy_models.py": MODELS})
    value = serializer((), rules).loads_typed(stored("lazy_models", "Order", {"number": 1}))
    assert value == sys.modules["lazy_models"].Order(1)


@pytest.mark.parametrize("module", ["script", "foreign"])
def test_a_module_is_not_imported_for_a_class_that_it_does_not_define(tmp_path: Path, module: str) -> None:
    files = {"script.py": "raise SystemExit('run')", "env/lib/foreign.py": MODELS, "env/pyvenv.cfg": ""}
    rules = project(tmp_path, files)
    sys.path.append(str(tmp_path / "env" / "lib"))
    value, told = losses_of(rules, stored(module, "Order", {"number": 1}))
    assert value == {"number": 1}
    assert f"the project has no class Order in a module {module}" in told[0]
    assert module not in sys.modules


def test_a_class_that_a_later_deployment_removed_comes_back_as_its_data(tmp_path: Path) -> None:
    rules = project(tmp_path, {"models.py": MODELS})
    serde = serializer((), rules)
    data = serde.dumps_typed({"order": imported("models").Order(1), "left": imported("models").Colour.RED})
    (tmp_path / "models.py").write_text("class Other: pass\n")
    del sys.modules["models"]
    value, told = losses_of(read(tmp_path).type_rules, data)
    assert value == {"order": {"number": 1}, "left": "red"}
    assert told == [
        "`plan.order` was stored as models.Order and cannot be rebuilt, because the project has no class Order in a"
        " module models",
        "`plan.left` was stored as models.Colour and cannot be rebuilt, because the project has no class Colour in a"
        " module models",
    ]


def test_a_field_that_a_later_deployment_added_gets_its_default(tmp_path: Path) -> None:
    source = "from dataclasses import dataclass\nfrom pydantic import BaseModel\n"
    before = source + "@dataclass\nclass A:\n    x: int\nclass B(BaseModel):\n    x: int\n    gone: int = 0\n"
    after = (
        source + "@dataclass\nclass A:\n    x: int\n    y: int = 2\nclass B(BaseModel):\n    x: int\n    y: int = 2\n"
    )
    rules = project(tmp_path, {"models.py": before})
    data = serializer((), rules).dumps_typed([imported("models").A(1), imported("models").B(x=1)])
    (tmp_path / "models.py").write_text(after)
    del sys.modules["models"]
    models = imported("models")
    assert serializer((), read(tmp_path).type_rules).loads_typed(data) == [models.A(1, 2), models.B(x=1, y=2)]


def test_a_field_that_has_no_default_is_named(tmp_path: Path) -> None:
    rules = project(tmp_path, {"models.py": "from pydantic import BaseModel\nclass B(BaseModel):\n    x: int\n"})
    imported("models")
    value, told = losses_of(rules, ("msgpack", ormsgpack.packb(ormsgpack.Ext(5, ormsgpack.packb(
        ["models", "B", {"z": 1}, "model_validate_json", {}])))))  # fmt: skip
    assert value == {"z": 1}
    assert "its field 'x' has no stored value and no default" in told[0]


def test_a_type_of_a_package_is_allowed_by_name(tmp_path: Path) -> None:
    from langchain_core.outputs import Generation

    serde = {"serde": {"allowed_msgpack_modules": [["langchain_core.outputs.generation", "Generation"]]}}
    assert read_back(project(tmp_path, {}, checkpointer=serde), Generation(text="a")) == Generation(text="a")


def test_every_data_class_is_allowed_by_true(tmp_path: Path) -> None:
    from langchain_core.outputs import Generation

    serde = {"serde": {"allowed_msgpack_modules": True}}
    assert read_back(project(tmp_path, {}, checkpointer=serde), Generation(text="a")) == Generation(text="a")


def test_a_subclass_of_an_allowed_type_comes_back(tmp_path: Path) -> None:
    from langchain_core.outputs import ChatGenerationChunk

    chunk = ChatGenerationChunk.model_validate({"message": {"type": "AIMessageChunk", "content": "a"}})
    named = [("langchain_core.outputs.chat_generation", "ChatGeneration")]
    assert type(read_back(project(tmp_path, {}), chunk, named)) is ChatGenerationChunk


def test_a_schema_that_names_a_framework_s_base_allows_nothing_else(tmp_path: Path) -> None:
    from langchain_core.outputs import Generation

    assert read_back(project(tmp_path, {}), Generation(text="a"), [("pydantic.main", "BaseModel")])["text"] == "a"


def test_what_a_task_says_it_returns_comes_back(tmp_path: Path) -> None:
    from langchain_core.outputs import Generation

    source = (
        "from langchain_core.outputs import Generation\nfrom langgraph.func import task\n"
        "@task\ndef answer() -> list[Generation]:\n    return []\n"
    )
    rules = project(tmp_path, {"tasks.py": source})
    imported("tasks")
    assert read_back(rules, [Generation(text="a")]) == [Generation(text="a")]


def test_what_a_field_of_a_project_s_class_names_comes_back(tmp_path: Path) -> None:
    from langchain_core.outputs import Generation

    source = (
        "from dataclasses import dataclass\nfrom langchain_core.outputs import Generation\n"
        "@dataclass\nclass Answer:\n    best: Generation\n"
    )
    rules = project(tmp_path, {"models.py": source})
    answer = imported("models").Answer(Generation(text="a"))
    assert read_back(rules, answer) == answer


def test_a_file_that_is_no_package_keeps_its_types_over_restarts(tmp_path: Path) -> None:
    from platform_site.core.graphs.loading import import_object

    # The name of a module that is taken: the file is imported under one made of its path.
    files = {"calendar.py": MODELS + "graph = None\n"}
    loaded = read(tmp_path, files, graphs={"agent": "./calendar.py:graph"})
    import_object(loaded.graphs["agent"], loaded)
    [name] = [name for name in sys.modules if name.startswith("graph_file_calendar_")]
    order = sys.modules[name].Order(1)
    data = serializer((), loaded.type_rules).dumps_typed(order)
    del sys.modules[name]
    import_object(loaded.graphs["agent"], loaded)
    assert serializer((), read(tmp_path, files).type_rules).loads_typed(data) == sys.modules[name].Order(1)
