from typing import TypedDict

from langgraph.graph import START, StateGraph

import manage
from templates import LETTER


class Letter(TypedDict, total=False):
    name: str
    text: str


def write(state: Letter) -> Letter:
    return {"text": f"{LETTER.format(name=state['name'])}, says {manage.NAME}"}


graph = StateGraph(Letter).add_node("write", write).add_edge(START, "write").compile()
