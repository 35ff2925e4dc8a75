"""What nodes and factories see as the context of a run."""

import inspect
from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from platform_site.core.graphs.context import factory_context, node_context


@dataclass
class Data:
    tone: str = "kind"
    level: InitVar[int] = 3
    made: str = field(default="here", init=False)

    def __post_init__(self, level: int) -> None:
        self.made = f"level {level}"


@dataclass
class Required:
    user: str


class Model(BaseModel):
    tone: str = "kind"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tone: str = "kind"


class Aliased(BaseModel):
    tone: str = Field(default="kind", alias="theTone")


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    tone: str = Field(default="kind", alias="theTone")


class Choices(BaseModel):
    tone: str = Field(default="kind", validation_alias=AliasChoices("voice", AliasPath("style", "tone")))


class Typed(TypedDict, total=False):
    tone: str


@pytest.mark.parametrize("schema", [Data, Required, Model, Typed, dict])
def test_a_schema_is_given_an_empty_mapping_where_nothing_was_given(schema: Any) -> None:
    assert node_context(schema, {}) == {}


@pytest.mark.parametrize("schema", [None, dict[str, Any]])
def test_without_a_class_as_schema_nothing_is_none(schema: Any) -> None:
    assert node_context(schema, {}) is None


@pytest.mark.parametrize("schema", [None, dict, dict[str, Any]])
def test_a_mapping_that_nothing_describes_comes_as_it_was_given(schema: Any) -> None:
    assert node_context(schema, {"tone": "dry", "other": 1}) == {"tone": "dry", "other": 1}


@pytest.mark.parametrize(
    ("schema", "taken"),
    [
        (Data, {"tone", "level"}),
        (Model, {"tone"}),
        (Strict, {"tone"}),
        (Aliased, {"theTone"}),
        (ByName, {"tone", "theTone"}),
        (Choices, {"voice", "style"}),
        (Typed, {"tone"}),
    ],
    ids=lambda value: value.__name__ if inspect.isclass(value) else "",
)
def test_schemas_with_keys_are_given_the_keys_that_they_take(schema: Any, taken: set[str]) -> None:
    given = dict.fromkeys(("tone", "theTone", "level", "made", "voice", "style", "other"), 1)
    assert node_context(schema, given) == dict.fromkeys(taken, 1)


def test_a_factory_sees_the_object_that_nodes_see() -> None:
    assert factory_context(Data, {"tone": "dry", "level": 5, "other": 1}) == Data(tone="dry", level=5)
    assert factory_context(Model, {}) == Model()


@pytest.mark.parametrize("schema", [None, dict, Typed, dict[str, Any]])
def test_a_factory_without_a_class_as_schema_sees_the_mapping(schema: Any) -> None:
    assert factory_context(schema, {"tone": "dry"}) == {"tone": "dry"}
    assert factory_context(schema, {}) == {}


def test_a_missing_value_is_refused_in_the_words_of_the_schema() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'user'"):
        factory_context(Required, {"other": 1})

    class RequiredModel(BaseModel):
        user: str

    with pytest.raises(ValidationError, match="user\n  Field required"):
        factory_context(RequiredModel, {})
