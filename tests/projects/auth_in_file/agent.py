from langgraph.graph import START, MessagesState, StateGraph

graph = StateGraph(MessagesState).add_node("answer", lambda state: {}).add_edge(START, "answer").compile()
