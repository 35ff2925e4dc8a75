"""Long work that tells how far it is, in stream mode `custom`: {"step": 2, "of": 5, "done": 0.4}.

{"task": "Sort the archive"}   with context {"steps": 10, "delay": 0.5}
"""

import asyncio
from dataclasses import dataclass
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime


@dataclass
class Pace:
    """Set on an assistant or on one run."""

    steps: int = 5
    delay: float = 1.0


class Work(TypedDict, total=False):
    task: str
    steps_done: int
    result: str


async def work(state: Work, runtime: Runtime[Pace]) -> Work:
    pace = runtime.context or Pace()
    for step in range(1, pace.steps + 1):
        await asyncio.sleep(pace.delay)
        runtime.stream_writer({"step": step, "of": pace.steps, "done": step / pace.steps})
    return {"steps_done": pace.steps}


async def finish(state: Work) -> Work:
    return {"result": f"{state.get('task', 'The work')}: done in {state['steps_done']} steps."}


graph = (
    StateGraph(Work, context_schema=Pace)
    .add_node("work", work)
    .add_node("finish", finish)
    .add_edge(START, "work")
    .add_edge("work", "finish")
    .add_edge("finish", END)
    .compile(name="slow")
)
