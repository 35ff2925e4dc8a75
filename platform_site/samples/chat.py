"""A chat agent that calls tools: the model asks for them, the graph runs them and the model answers.

    {"messages": [{"role": "user", "content": "What is 17 * 23, and where is order A-1001?"}]}

Without a model key a scripted model plays the part (scripted_model.py). With OPENAI_API_KEY or ANTHROPIC_API_KEY
it is a real one, if the packages `langchain` and `langchain-openai` or `langchain-anthropic` are installed.
"""

import ast
import logging
import operator
import os
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from platform_site.samples.scripted_model import ScriptedModel

logger = logging.getLogger(__name__)

INSTRUCTIONS = SystemMessage("You are the assistant of a small shop. Use the tools for sums, the time and orders.")
ORDERS = {"A-1001": "shipped, arrives on Friday", "A-1002": "being packed", "A-1003": "delivered on Monday"}
OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@tool
def calculate(expression: str) -> str:
    """Work out a sum such as `12 * (3 + 4)`."""

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        raise ValueError("only numbers and + - * / are understood")

    try:
        return f"{expression} = {value(ast.parse(expression, mode='eval').body):g}"
    except (ValueError, SyntaxError, ZeroDivisionError, OverflowError) as error:
        return f"I cannot work out {expression}: {error}"


@tool
def current_time() -> str:
    """Tell the date and time in UTC."""
    return f"It is {datetime.now(UTC):%H:%M on %A, %d %B %Y} (UTC)"


@tool
def look_up_order(order: str) -> str:
    """Find out where an order is, by its number, such as A-1001."""
    return f"Order {order} is {ORDERS.get(order, 'not known to us')}"


TOOLS = [calculate, current_time, look_up_order]


def choose_model() -> BaseChatModel:
    """The model whose key is in the environment, if its package is installed, else the scripted one."""
    for key, package, name in (
        ("OPENAI_API_KEY", "langchain_openai", "openai:gpt-5-mini"),
        ("ANTHROPIC_API_KEY", "langchain_anthropic", "anthropic:claude-haiku-4-5"),
    ):
        if not os.environ.get(key):
            continue
        if find_spec("langchain") and find_spec(package):
            from langchain.chat_models import init_chat_model  # type: ignore[import-not-found, unused-ignore]

            model: BaseChatModel = init_chat_model(os.environ.get("CHAT_MODEL", name))
            return model
        logger.warning(
            "%s is set, but langchain and %s are not installed: the chat sample stays scripted", key, package
        )
    return ScriptedModel()


model = choose_model().bind_tools(TOOLS)


async def assistant(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke([INSTRUCTIONS, *state["messages"]])]}


graph = (
    StateGraph(MessagesState)
    .add_node("assistant", assistant)
    .add_node("tools", ToolNode(TOOLS))
    .add_edge(START, "assistant")
    .add_conditional_edges("assistant", tools_condition)
    .add_edge("tools", "assistant")
    .compile(name="chat")
)
