from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: str


class Everything(Question, Answer):
    documents: list[str]
    prompt: str


class Secret(TypedDict):
    key: str


def find(state: Question) -> Everything:
    return {"documents": ["a book"]}


def unlock(state: Everything) -> Secret:
    return {"key": "a secret"}


def write(state: Secret) -> Everything:
    return {"prompt": f"with {state['key']}"}


class Ask(Everything, Secret):
    pass


def ask(state: Ask) -> Answer:
    return {"answer": f"{interrupt('sure?')}: {state['documents'][0]}, {state['key']}"}


checker = (
    StateGraph(Ask, input_schema=Ask, output_schema=Answer)
    .add_node("ask", ask)
    .add_edge(START, "ask")
    .add_edge("ask", END)
    .compile()
)
graph = (
    StateGraph(Everything, input_schema=Question, output_schema=Answer)
    .add_node("find", find)
    .add_node("unlock", unlock)
    .add_node("write", write)
    .add_node("check", checker, input_schema=Ask)
    .add_edge(START, "find")
    .add_edge("find", "unlock")
    .add_edge("unlock", "write")
    .add_edge("write", "check")
    .compile()
)
