from typing import Any

from langgraph.func import entrypoint


@entrypoint()
def counter(add: int, *, previous: Any = None) -> entrypoint.final[str, dict[str, int]]:
    total = (previous or {"total": 0})["total"] + add
    return entrypoint.final(value=f"the total is {total}", save={"total": total})
