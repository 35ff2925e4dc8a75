"""Crons in scale mode: made through a web process, fired by one of the workers."""

from collections.abc import Callable

import httpx

from tests.crons.test_live import made, post, until
from tests.scaled_stack import ScaledStack, scaled_stacks  # noqa: F401


def test_a_cron_made_in_a_web_process_wakes_the_workers(
    scaled_stacks: Callable[..., ScaledStack],  # noqa: F811
) -> None:
    # Nobody looks by himself for a minute.
    stack = scaled_stacks(SWEEP_SECONDS="60").start(workers=2)
    with httpx.Client(base_url=stack.web.url, timeout=60) as http:
        thread = post(http, "/threads")["thread_id"]
        fields = {"assistant_id": "counter", "schedule": "* * * * * *", "input": {"count": 1}}
        cron = post(http, f"/threads/{thread}/runs/crons", **fields)
        until(lambda: len(made(http, thread)) >= 4)
        http.patch(f"/runs/crons/{cron['cron_id']}", json={"enabled": False})
        seconds = [moment.replace(microsecond=0) for moment in made(http, thread)]
    assert len(set(seconds)) == len(seconds)
