from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt


def look(state: MessagesState):
    return {"messages": [AIMessage("I have your invoice.", name="billing")]}


def decide(state: MessagesState) -> Command:
    paid = interrupt("has it been paid?")
    return Command(
        graph=Command.PARENT,
        goto="farewell",
        update={"messages": [*state["messages"], AIMessage(f"It was paid: {paid}.", name="billing")]},
    )


billing = (
    StateGraph(MessagesState)
    .add_node("look", look)
    .add_node("decide", decide, destinations=())
    .add_edge(START, "look")
    .add_edge("look", "decide")
    .compile()
)
