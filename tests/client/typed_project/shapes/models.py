"""Data classes of a project that no schema of its graphs names."""

from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, StrEnum, auto
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, PrivateAttr, RootModel, SecretStr, field_serializer

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Rights(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Step:
    title: str
    size: tuple[int, int] = (0, 0)
    double: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.double += 1


@dataclass(frozen=True, slots=True)
class Key:
    name: str


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tricks: list[str] = []


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")


class Plan(BaseModel):
    class Inner(BaseModel):
        depth: int

    steps: list[Step]
    animals: list[Animal] = []
    inner: Inner | None = None
    site: HttpUrl | None = None
    password: SecretStr | None = None
    anything: Any = None
    by_alias: int = Field(default=0, alias="byAlias")
    _seen: int = PrivateAttr(0)

    @field_serializer("animals")
    def _short(self, animals: list[Animal]) -> str:
        return f"{len(animals)} animals"


class Box(BaseModel, Generic[T]):
    content: T


class Names(RootModel[list[str]]):
    pass


def plan() -> Plan:
    made = Plan(
        steps=[Step("first", (1, 2))],
        animals=[Dog(name="Rex", tricks=["sit"])],
        inner=Plan.Inner(depth=3),
        site="https://example.com/",
        password="secret",
        anything={"colours": {Colour.RED}, "key": Key("k")},
        byAlias=7,
    )
    made._seen = 2
    return made
