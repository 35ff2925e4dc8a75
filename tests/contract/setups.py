"""What happened before each recorded exchange and was not recorded itself.

`BEFORE[file, index]` prepares a server for the exchange with that index: it makes the threads, runs and assistants
that the file only names, or waits for what the recording waited for.
"""

import time
import uuid
from collections.abc import Callable

from tests.contract.open_streams import OpenStream
from tests.contract.replay import Session

BEFORE: dict[tuple[str, int], Callable[[Session], None]] = {}
SetUp = Callable[[Session], None]


def before(file: str, index: int = 0) -> Callable[[SetUp], SetUp]:
    def register(function: SetUp) -> SetUp:
        BEFORE[file, index] = function
        return function

    return register


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until the condition holds; that it never does is for the exchange to find out."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def is_over(session: Session, thread: int, run: int) -> bool:
    found = session.get(f"/threads/<uuid:{thread}>/runs/<uuid:{run}>")
    return found is None or found["status"] not in ("pending", "running")


def is_in_second_node(session: Session, thread: int) -> bool:
    state = session.get(f"/threads/<uuid:{thread}>/state")
    return bool(state) and state["next"] == ["tick"]


@before("01_system", 8)
def two_threads(session: Session) -> None:
    session.thread(101)
    session.thread(102)


@before("04_assistants_versions")
def an_assistant_with_two_versions(session: Session) -> None:
    assistant = session.post("/assistants", {"graph_id": "counter", "metadata": {"m": 1}})
    session.ids["uuid:1"] = assistant["assistant_id"]
    session.http.patch(f"/assistants/{assistant['assistant_id']}", json={"name": "two"})


@before("08_threads_search")
def three_threads_the_first_of_which_ran(session: Session) -> None:
    session.ids["uuid:2"] = str(uuid.uuid4())
    for index, number in enumerate((1, 3, 4)):
        session.thread(number, metadata={"tag": session.ids["uuid:2"], "i": index, "nest": {"a": 1, "b": index}})
    session.post("/threads/<uuid:1>/runs/wait", {"assistant_id": "counter", "input": {"count": 7}})


@before("09_state_history")
def a_thread_with_an_owner(session: Session) -> None:
    session.thread(1, metadata={"owner": "bob"})


@before("10_copy_supersteps")
def a_thread_that_ran(session: Session) -> None:
    session.thread(1, metadata={"own": "me"})
    session.run(1, 2, "counter", input={"count": 1})
    eventually(lambda: is_over(session, 1, 2))


@before("12_runs_stateless", 2)
def the_kept_run_is_over(session: Session) -> None:
    eventually(lambda: is_over(session, 4, 3))


@before("12_runs_stateless", 4)
def the_deleted_run_is_gone(session: Session) -> None:
    eventually(lambda: session.get("/threads/<uuid:6>") is None)


@before("17_stream_resume", 6)
def a_run_in_flight(session: Session) -> None:
    body = {"input": {"ticks": 4, "delay": 0.4}, "stream_mode": ["values", "custom"]}
    session.run(1, 4, "slow", **body)
    eventually(lambda: is_in_second_node(session, 1))


@before("18_thread_stream")
def streams_of_a_thread(session: Session) -> None:
    thread = session.thread(1)
    for index, modes in enumerate(("run_modes", "lifecycle", "state_update", "lifecycle,state_update"), 2):
        session.streams[index] = OpenStream(session.http.base_url, f"/threads/{thread}/stream?stream_modes={modes}")


def _a_run_in_work(session: Session, thread: int, run: int) -> None:
    session.thread(thread)
    session.run(thread, run, "slow", input={"ticks": 5, "delay": 0.4})
    eventually(lambda: is_in_second_node(session, thread))


@before("20_multitask")
def a_busy_thread(session: Session) -> None:
    _a_run_in_work(session, 1, 2)


@before("20_multitask", 2)
def a_run_behind_the_running_one(session: Session) -> None:
    session.run(1, 3, "slow", input={"ticks": 1, "delay": 0.01})


def _a_run_that_makes_its_way(index: int, thread: int, run: int, following: int, strategy: str) -> None:
    @before("20_multitask", index)
    def post(session: Session) -> None:
        _a_run_in_work(session, thread, run)
        session.run(thread, following, "slow", input={"ticks": 1, "delay": 0.01}, multitask_strategy=strategy)


_a_run_that_makes_its_way(4, 4, 5, 6, "interrupt")
_a_run_that_makes_its_way(7, 7, 8, 9, "rollback")


def _a_run_in_its_second_node(index: int, thread: int, run: int) -> None:
    @before("21_cancel", index)
    def start(session: Session) -> None:
        _a_run_in_work(session, thread, run)


_a_run_in_its_second_node(0, 1, 2)
_a_run_in_its_second_node(4, 3, 4)
_a_run_in_its_second_node(5, 5, 6)
_a_run_in_its_second_node(8, 7, 8)


@before("21_cancel", 1)
def the_cancelled_run_is_over(session: Session) -> None:
    eventually(lambda: is_over(session, 1, 2))
    # Its thread is free when its attempt has let go, which another process may have to hear of first.
    eventually(lambda: session.get("/threads/<uuid:1>")["status"] != "busy")


@before("28_context_config", 3)
def an_assistant_with_context(session: Session) -> None:
    body = {"graph_id": "ctx", "context": {"tone": "base", "level": 1}}
    session.ids["uuid:5"] = session.post("/assistants", body)["assistant_id"]


def _threads(file: str, *numbers: int) -> None:
    @before(file)
    def threads(session: Session) -> None:
        for number in numbers:
            session.thread(number)


@before("22_crons", 13)
def the_thread_is_deleted(session: Session) -> None:
    session.http.delete(session.ids.fill("/threads/<uuid:1>"))


_threads("11_runs_basic", 1)
_threads("13_stream_modes", 1, 3, 5, 9, 18, 27, 33)
_threads("14_stream_messages", 1, 4, 7, 10, 13)
_threads("16_stream_errors", 4)
_threads("17_stream_resume", 1)
_threads("27_webhooks", 1)
_threads("19_interrupts_commands", 1, 7)
_threads("22_crons", 1)


@before("23_store", 3)
def more_items(session: Session) -> None:
    place = ["demo", "n79248f"]
    for namespace, key, value in (
        (place, "k2", {"x": 2, "n": {"d": 2}}),
        (place, "k3", {"x": 3, "t": "u"}),
        ([*place, "sub"], "deep", {"x": 9}),
    ):
        session.http.put("/store/items", json={"namespace": namespace, "key": key, "value": value})
