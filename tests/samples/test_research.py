"""The research sample."""

from platform_site.samples import research


async def test_both_lines_of_research_are_in_the_report() -> None:
    result = await research.graph.ainvoke({"question": "Repaint?"})
    assert result["report"].startswith("# Repaint?")
    assert "(archive, plausible)" in result["report"]
    assert "(people, doubtful)" in result["report"]


async def test_inner_steps_are_streamed_with_their_namespace() -> None:
    seen = set()
    async for namespace, update in research.graph.astream(
        {"question": "Repaint?"}, stream_mode="updates", subgraphs=True
    ):
        seen |= {"/".join([part.partition(":")[0] for part in namespace] + [node]) for node in update}
    assert {"plan", "archive/find", "archive/check/compare", "people/check/judge", "write"} <= seen


async def test_the_two_lines_run_side_by_side() -> None:
    order = [
        node
        async for namespace, update in research.graph.astream({"question": "?"}, stream_mode="updates", subgraphs=True)
        for node in update
        if node in ("find", "archive", "people")
    ]
    assert order.count("find") == 2
    # The quicker line is done before the slower one has found anything.
    assert order.index("people") < order.index("archive")
