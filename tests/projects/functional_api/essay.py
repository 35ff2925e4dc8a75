from dataclasses import dataclass
from typing import Any

from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.types import interrupt
from pydantic import BaseModel


class Outline(BaseModel):
    topic: str
    chapters: list[str]


@dataclass
class Draft:
    outline: Outline
    words: int = 0


@task
def plan(topic: str) -> Outline:
    return Outline(topic=topic, chapters=["one", "two"])


@task
async def write(outline: Outline):
    get_stream_writer()({"writing": outline.topic})
    return Draft(outline, words=10 * len(outline.chapters))


@entrypoint()
async def workflow(topic: str) -> dict[str, Any]:
    # After the interrupt the results of the tasks come from the checkpoint: as what they were.
    draft = await write(await plan(topic))
    approved = interrupt({"words": draft.words, "chapters": draft.outline.chapters})
    return {"topic": draft.outline.topic, "approved": approved}
