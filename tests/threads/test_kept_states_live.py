"""States that several web processes keep: what anybody changes, all of them show at once.

A process that keeps nothing tells what is right.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.live import CONTRACT_CONFIG
from tests.scaled_stack import ScaledStack

pytestmark = pytest.mark.postgres


class Processes:
    """A thread in scale mode: the workers run it, and three web processes show it."""

    def __init__(self, first: httpx.Client, second: httpx.Client, keeps_nothing: httpx.Client) -> None:
        self.first, self.second, self.keeps_nothing = first, second, keeps_nothing
        self.id = self.post("/threads")["thread_id"]

    def post(self, path: str, **body: Any) -> Any:
        answer = self.first.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, graph: str, **body: Any) -> Any:
        return self.post(f"/threads/{self.id}/runs/wait", assistant_id=graph, **body)

    def shown(self, http: httpx.Client) -> list[bytes]:
        """What a process answers on the thread's states, each by itself and in the history."""
        place = f"/threads/{self.id}"
        history = http.get(f"{place}/history?limit=50")
        answers = [history, http.get(f"{place}/state"), http.get(f"{place}/state?select=values&select=tasks")]
        states = history.json() if history.status_code == 200 else []
        answers += [http.get(f"{place}/state/{state['checkpoint_id']}") for state in states]
        return [b"%d %b" % (answer.status_code, answer.content) for answer in answers]

    def agree(self) -> list[bytes]:
        """Require that all processes show the same, also when they are asked again. Return what they show."""
        right = self.shown(self.keeps_nothing)
        for http in (self.first, self.second, self.second, self.first):
            assert self.shown(http) == right
        return right


@pytest.fixture(scope="module")
def stack(scaled_stacks: Callable[..., ScaledStack]) -> ScaledStack:
    stack = scaled_stacks(CONTRACT_CONFIG).start(webs=2)
    stack.start_web(STATE_CACHE_BYTES="0")
    return stack


@pytest.fixture
def processes(stack: ScaledStack) -> Iterator[Processes]:
    clients = [httpx.Client(base_url=web.url, timeout=60) for web in stack.webs]
    yield Processes(*clients)
    for client in clients:
        client.close()


def a_run(processes: Processes) -> None:
    processes.run("approval", input={"request": "more"})


def an_answer(processes: Processes) -> None:
    processes.run("approval", command={"resume": "yes"})


def an_edit(processes: Processes) -> None:
    processes.post(f"/threads/{processes.id}/state", values={"decision": "no"}, as_node="ask")


def a_fork(processes: Processes) -> None:
    history = processes.first.get(f"/threads/{processes.id}/history?limit=50").json()
    forked = history[-1]["checkpoint"]
    processes.post(f"/threads/{processes.id}/state", values={"request": "forked"}, checkpoint=forked)


def a_failure(processes: Processes) -> None:
    processes.run("failing", input={"text": "x"})


def a_rollback(processes: Processes) -> None:
    place = f"/threads/{processes.id}/runs"
    run = processes.post(place, assistant_id="slow", input={"ticks": 100, "delay": 0.1})
    processes.post(
        f"{place}/wait", assistant_id="approval", input={"request": "instead"}, multitask_strategy="rollback"
    )
    assert processes.first.get(f"{place}/{run['run_id']}").status_code == 404


def a_deleted_run(processes: Processes) -> None:
    an_answer(processes)
    processes.agree()
    newest = processes.first.get(f"/threads/{processes.id}/runs").json()[0]["run_id"]
    assert processes.first.delete(f"/threads/{processes.id}/runs/{newest}").status_code == 204


def pruning(processes: Processes) -> None:
    processes.post("/threads/prune", thread_ids=[processes.id], strategy="keep_latest")


def deleting(processes: Processes) -> None:
    assert processes.first.delete(f"/threads/{processes.id}").status_code == 204


def deleting_and_making_it_again(processes: Processes) -> None:
    deleting(processes)
    processes.post("/threads", thread_id=processes.id)
    a_run(processes)


CHANGES = [a_run, an_answer, an_edit, a_fork, a_failure, a_rollback, pruning, deleting, deleting_and_making_it_again]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_shown_by_all_processes(processes: Processes, change: Callable[[Processes], None]) -> None:
    processes.run("approval", input={"request": "this"})
    before = processes.agree()

    change(processes)

    assert processes.agree() != before


def test_a_deleted_run_leaves_what_was_there_before(processes: Processes) -> None:
    processes.run("approval", input={"request": "this"})
    before = processes.agree()

    a_deleted_run(processes)

    assert processes.agree() == before


@pytest.mark.parametrize("odd", ["%00", "x", "%F0%9F%98%80", "9" * 300, "%27"])
def test_ids_that_are_none_get_the_same_answer(processes: Processes, odd: str) -> None:
    processes.run("approval", input={"request": "this"})
    for path in (f"state/{odd}", f"history?before={odd}", f"history?limit=5&before={odd}{'0' * 35}"):
        place = f"/threads/{processes.id}/{path}"
        right, found = processes.keeps_nothing.get(place), processes.first.get(place)
        assert (found.status_code, found.content) == (right.status_code, right.content), place
        assert found.status_code < 500
