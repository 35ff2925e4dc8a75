from langgraph.graph import START, MessagesState, StateGraph

from agent.words import GREETING


def answer(state: MessagesState):
    return {"messages": [{"role": "ai", "content": GREETING}]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
