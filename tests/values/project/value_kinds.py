"""Classes that nodes of real projects put into their state, one of each kind."""

import dataclasses
import enum
from collections import namedtuple
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import attrs
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr, computed_field, field_serializer
from pydantic.v1 import BaseModel as BaseModelV1

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@dataclasses.dataclass
class Place:
    city: str
    tags: list[str] = dataclasses.field(default_factory=list)
    seen: datetime | None = None


@dataclasses.dataclass
class Trip:
    start: Place
    price: Decimal
    ways: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


@dataclasses.dataclass
class Account:
    name: str
    _token: str = "hidden"


class Point(NamedTuple):
    x: float
    y: float


Pair = namedtuple("Pair", ["left", "right"])


class Step(BaseModel):
    text: str
    done: bool = False


class Plan(BaseModel):
    title: str
    steps: list[Step] = []
    due: timedelta | None = None
    color: Color | None = None


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    long_name: int = Field(alias="longName")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Computed(BaseModel):
    width: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width**2


class Serialized(BaseModel):
    when: timedelta

    @field_serializer("when")
    def in_minutes(self, when: timedelta) -> str:
        return f"{when.total_seconds() / 60:g} min"


class Holder(BaseModel):
    """A model whose fields are objects that JSON knows nothing of."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    price: Decimal
    where: PurePosixPath
    who: UUID
    seen: set[int]
    raw: bytes


class Box(BaseModel, Generic[T]):
    content: T


class Bag(BaseModel):
    content: dict[Any, Any]


class Names(RootModel[list[str]]):
    pass


class Login(BaseModel):
    password: SecretStr


class OldStep(BaseModelV1):
    text: str


class OldPlan(BaseModelV1):
    title: str
    steps: list[OldStep] = []


class Row(TypedDict):
    a: int


@attrs.define
class Defined:
    a: int
    b: list[int] = attrs.field(factory=list)


class Plain:
    """A class that says nothing about itself."""

    def __init__(self) -> None:
        self.a = 1

    def __repr__(self) -> str:
        return "Plain(a=1)"


class WithDict:
    """A class with a `dict` method, as many libraries have one."""

    def dict(self) -> dict[str, Any]:
        return {"a": 1}


class BadDump:
    """A class whose own method fails."""

    def model_dump(self) -> Any:
        raise ValueError("no dump")


class ReadOnly(Mapping[str, Any]):
    def __init__(self, items: dict[str, Any]) -> None:
        self._items = items

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Metres(float):
    pass


class Count(int):
    pass


class Name(str):
    pass


class Many(list[Any]):
    pass


class Known(dict[str, Any]):
    pass


class Trouble(Exception):
    pass
