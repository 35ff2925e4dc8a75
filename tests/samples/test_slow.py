"""The slow sample."""

from typing import Any

from platform_site.samples import slow


async def test_it_reports_every_step() -> None:
    # As it comes from a request.
    context: Any = {"steps": 4, "delay": 0}
    events = [event async for event in slow.graph.astream({"task": "Sort"}, context=context, stream_mode="custom")]
    assert events == [{"step": step, "of": 4, "done": step / 4} for step in (1, 2, 3, 4)]


async def test_it_tells_its_result() -> None:
    result = await slow.graph.ainvoke({"task": "Sort"}, context=slow.Pace(steps=2, delay=0))
    assert result == {"task": "Sort", "steps_done": 2, "result": "Sort: done in 2 steps."}
