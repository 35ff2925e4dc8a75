"""Graphs whose states hold values of types that no schema names."""

import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from operator import add
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from langchain_core.outputs import Generation
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from shapes import models  # type: ignore[import-not-found]


@dataclass
class InTheGraphsFile:
    number: int


FRAME = pd.DataFrame(
    {
        "n": [1, 2],
        "text": ["a", None],
        "kind": pd.Categorical(["x", "y"]),
        "whole": pd.array([1, None], dtype="Int64"),
        "at": pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("UTC"),
    },
    index=pd.Index(["r1", "r2"], name="row"),
)
VALUES: dict[str, Any] = {
    "model": models.plan(),
    "model with more fields": models.Loose.model_validate({"more": models.Key("k")}),
    "dataclass": models.Step("one"),
    "frozen": models.Key("k"),
    "enums": [models.Colour.RED, models.Colour.PAIR, models.Level.LOW, models.Word.YES, models.Rights(3)],
    "named tuple": models.Point(1, 2),
    "nested class": models.Plan.Inner(depth=1),
    "generic": models.Box[int](content=1),
    "generic of a model": models.Box[models.Dog](content=models.Dog(name="Rex")),
    "root model": models.Names(["a"]),
    "in the graph's file": InTheGraphsFile(1),
    "tuple": (1, (2, 3)),
    "keys": {1: "a", (1, 2): "b", models.Colour.RED: "c", date(2024, 1, 1): "d", frozenset([1]): "e", None: "f"},
    "sets": [{(1, 2)}, frozenset([models.Key("k")])],
    "containers": [deque([1], maxlen=2), OrderedDict(a=1), Counter("aab"), defaultdict(list, a=[1]), range(3)],
    "numbers": [2**80, -(2**70), Fraction(1, 3), 1j, Decimal("1.50")],
    "dates": [datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), datetime.now(UTC)],
    "namespace": SimpleNamespace(a=(1,)),
    "path": PurePosixPath("a/b"),
    "scalars": [np.float32(1.5), np.int64(3), np.bool_(True), np.datetime64("2024-01-01"), np.complex64(1j)],
    "array": np.arange(6).reshape(2, 3).T,
    "array of text": np.array(["a", "bb"]),
    "array of objects": np.array([1, "a", None], dtype=object),
    "array of records": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "frame": FRAME,
    "series": FRAME["n"],
    "pandas": [pd.NA, pd.NaT, pd.Timestamp("2024-01-01", tz="Europe/Berlin"), pd.Timedelta("1h")],
}


def wrong(bag: dict[str, Any]) -> list[str]:
    """The names of the values that are not as they were, or not there."""
    return [name for name, value in VALUES.items() if name not in bag or not _same(value, bag[name])]


def _same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right)
        return True
    if isinstance(left, pd.Series):
        pd.testing.assert_series_equal(left, right)
        return True
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and bool(np.array_equal(left, right)) and right.flags.writeable
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    if left is pd.NA or left is pd.NaT:
        return left is right
    if isinstance(left, models.Plan):
        return repr(left) == repr(right) and left._seen == right._seen and left.password == right.password
    return bool(left == right) and repr(left) == repr(right)


class BagState(TypedDict, total=False):
    bag: dict[str, Any]
    direct: Any
    wrong: list[str]
    answer: str


def fill(state: BagState) -> BagState:
    if "bag" in state:
        return {"wrong": wrong(state["bag"])}
    # A text that is an enum lies beside plain text in the database.
    return {"bag": VALUES, "direct": models.Word.YES}


def ask(state: BagState) -> BagState:
    return {"answer": interrupt("go on?")}


def check(state: BagState) -> BagState:
    lost = [] if state["direct"] is models.Word.YES else ["direct"]
    return {"wrong": wrong(state["bag"]) + lost}


builder = StateGraph(BagState).add_node(fill).add_node(ask).add_node(check)
builder.add_edge(START, "fill").add_edge("fill", "ask").add_edge("ask", "check").add_edge("check", END)
bag = builder.compile()


@task
def make_plan() -> dict[str, Any]:
    return {"plan": models.plan()}


@entrypoint()
def plan(question: str, *, previous: Any = None) -> Any:
    made = make_plan().result()["plan"]
    interrupt(question)
    seen = None if previous is None else previous["plan"].animals[0].tricks
    return entrypoint.final(value={"tricks": made.animals[0].tricks, "previous": seen}, save={"plan": made})


class FanState(TypedDict, total=False):
    titles: Annotated[list[str], add]


def work(job: Any) -> FanState:
    interrupt(job["step"].title)
    return {"titles": [job["step"].title.upper()]}


fan_builder: Any = StateGraph(FanState)
fan = (
    fan_builder.add_node("work", work)
    .add_conditional_edges(START, lambda state: [Send("work", {"step": models.Step(name)}) for name in ("a", "b")])
    .compile()
)


def foreign(state: BagState) -> BagState:
    return {"bag": {"answers": [Generation(text="hello")]}}


def use(state: BagState) -> BagState:
    return {"answer": state["bag"]["answers"][0].text}


stranger = (
    StateGraph(BagState)
    .add_node("foreign", foreign)
    .add_node("ask", ask)
    .add_node("use", use)
    .add_edge(START, "foreign")
    .add_edge("foreign", "ask")
    .add_edge("ask", "use")
    .compile()
)


def lock(state: Any) -> BagState:
    return {"bag": {"locks": [threading.Lock()]}}


hopeless = StateGraph(BagState).add_node("lock", lock).add_edge(START, "lock").compile()
hopeless_fan = (
    StateGraph(BagState)
    .add_node("lock", lock)
    .add_conditional_edges(START, lambda state: [Send("lock", {})], ["lock"])
    .compile()
)
