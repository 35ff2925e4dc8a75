from typing import TypedDict

from corpus_currency import SIGN
from corpus_pricing import price
from corpus_taxes import with_tax
from humanize import intcomma
from langgraph.graph import START, StateGraph


class Order(TypedDict, total=False):
    amount: int
    total: str


def total(state: Order) -> Order:
    return {"total": f"{intcomma(with_tax(price(state['amount'])))} {SIGN}"}


graph = StateGraph(Order).add_node("sum", total).add_edge(START, "sum").compile()
