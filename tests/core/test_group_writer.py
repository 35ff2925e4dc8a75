"""SQLite's one writer: groups, failures inside them, failures of them."""

import asyncio
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction

from platform_site.access.models import Workspace
from platform_site.core.database import group_writer
from platform_site.core.database.access import IS_POSTGRES, in_db, read_db
from platform_site.core.database.group_writer import GroupWriter
from tests.runs.conftest import eventually
from threads.models import Thread

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(IS_POSTGRES, reason="it is the one writer that SQLite has"),
]


@pytest.fixture
def writer() -> Iterator[GroupWriter]:
    writer = GroupWriter("test-write")
    yield writer
    writer.shutdown()


class Gate:
    """Holds the writer's thread in a first call, so that those after it wait together."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.open.wait(10)


async def together(writer: GroupWriter, *calls):
    """Run the calls as one group; results and exceptions in order."""
    gate = Gate()
    first = asyncio.ensure_future(writer.run(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    waiting = [asyncio.ensure_future(writer.run(call)) for call in calls]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


async def traced(writer: GroupWriter) -> list[str]:
    """The statements that SQLite is given by the writer's thread from now on."""
    statements: list[str] = []

    def trace() -> None:
        connection.ensure_connection()
        connection.connection.set_trace_callback(statements.append)

    await writer.run(trace)
    return statements


def workspaces() -> set[str]:
    return set(Workspace.objects.values_list("slug", flat=True))


def make(slug: str):
    return lambda: Workspace.objects.create(slug=slug, name=slug).slug


async def test_calls_that_wait_together_share_a_transaction(writer):
    depths: list[bool] = []

    def call() -> None:
        depths.append(connection.in_atomic_block)

    statements = await traced(writer)
    await together(writer, call, call, call)
    assert depths == [True, True, True]
    assert [statement for statement in statements if "SELECT" not in statement] == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_a_group_in_which_no_call_fails_costs_no_savepoints(writer):
    statements = await traced(writer)
    await together(writer, make("one"), make("two"))
    assert not [statement for statement in statements if "SAVEPOINT" in statement]


async def test_a_call_alone_has_no_transaction_around_it(writer):
    assert await writer.run(lambda: connection.in_atomic_block) is False


async def test_a_call_that_is_refused_before_it_wrote_costs_the_others_nothing(writer):
    made: list[str] = []

    def refuse() -> None:
        with transaction.atomic(savepoint=False):
            made.append("refused")
            raise ValueError("no")

    def call(slug: str) -> str:
        made.append(slug)
        return str(make(slug)())

    answers = await together(writer, partial(call, "before"), refuse, partial(call, "after"))
    assert made == ["before", "refused", "after"]
    assert (answers[0], type(answers[1]), answers[2]) == ("before", ValueError, "after")
    assert {"before", "after"} <= await writer.run(workspaces)


async def test_a_group_that_lost_its_transaction_is_not_told_that_it_wrote(writer):
    attempts: list[str] = []

    def lose() -> None:
        # As SQLite does by itself when the disk is full.
        attempts.append("lost")
        if len(attempts) == 1:
            connection.connection.execute("ROLLBACK")
            raise ValueError("disk")

    answers = await together(writer, make("before"), lose, make("after"))
    assert answers == ["before", None, "after"]
    assert {"before", "after"} <= await writer.run(workspaces)


async def test_a_call_that_would_have_everything_rolled_back_does_not_cost_the_others_their_writes(writer):
    def spoil() -> None:
        transaction.set_rollback(True)

    await together(writer, make("one"), spoil, make("two"))
    assert {"one", "two"} <= await writer.run(workspaces)


async def test_pages_as_they_were_before_a_savepoint_stay_in_memory():
    def temp_store() -> int:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA temp_store")
            return int(cursor.fetchone()[0])

    assert await in_db(temp_store) == 2
    # What a read sorts may be large: it goes to a file.
    assert await read_db(temp_store) == 0


async def test_what_a_call_held_is_free_once_it_is_made(writer):
    class Held:
        def call(self) -> None:
            """Do nothing."""

    held = Held()
    seen = weakref.ref(held)
    await writer.run(held.call)
    del held
    # The writer's thread answers first.
    assert await asyncio.to_thread(eventually, lambda: seen() is None)


async def test_results_come_back_to_their_callers(writer):
    assert await together(writer, *[make(f"w{number}") for number in range(5)]) == [f"w{number}" for number in range(5)]
    assert await writer.run(workspaces) >= {f"w{number}" for number in range(5)}


async def test_a_call_that_raises_is_rolled_back_alone(writer):
    def fail() -> None:
        make("half")()
        raise ValueError("no")

    before, failed, after = await together(writer, make("before"), fail, make("after"))
    assert (before, after) == ("before", "after")
    assert isinstance(failed, ValueError)
    assert {"before", "after"} <= await writer.run(workspaces)
    assert "half" not in await writer.run(workspaces)


async def test_what_follows_a_commit_happens_after_the_commit_of_the_group(writer):
    seen: list[set[str]] = []

    def call() -> None:
        make("first")()
        transaction.on_commit(lambda: seen.append(workspaces()), robust=True)

    await together(writer, call, make("second"))
    assert {"first", "second"} <= seen[0]


async def test_what_follows_a_commit_is_dropped_with_a_call_that_raises(writer):
    seen: list[str] = []

    def fail() -> None:
        transaction.on_commit(lambda: seen.append("never"), robust=True)
        raise ValueError("no")

    await together(writer, fail, make("other"))
    assert seen == []


async def test_if_the_commit_fails_each_call_is_made_again_alone(writer):
    def spoil() -> None:
        # A deferred foreign key is looked at by the commit.
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO threads_thread (thread_id, workspace_id, title, status, metadata, config, ephemeral, "
                "ttl_strategy, created_at, updated_at, state_updated_at) VALUES ('00', 999999, '', 'idle', '{}', '{}', "
                "0, 'delete', '2026-01-01', '2026-01-01', '2026-01-01')"
            )

    def spoil_in_a_transaction() -> None:
        with transaction.atomic():
            spoil()

    good, spoiled = await together(writer, make("good"), spoil_in_a_transaction)
    assert good == "good"
    assert isinstance(spoiled, IntegrityError)
    assert "good" in await writer.run(workspaces)
    assert await writer.run(Thread.objects.count) == 0


async def test_a_caller_that_gives_up_does_not_stop_the_others(writer):
    gate = Gate()
    first = asyncio.ensure_future(writer.run(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    gone = asyncio.ensure_future(writer.run(make("gone")))
    stays = asyncio.ensure_future(writer.run(make("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    gate.open.set()
    await first
    assert await stays == "stays"
    assert {"gone", "stays"} <= await writer.run(workspaces)


async def test_callers_on_several_loops_are_answered_on_their_own(writer):
    def elsewhere() -> str:
        return asyncio.run(writer.run(make("elsewhere")))

    answers = await asyncio.gather(asyncio.to_thread(elsewhere), writer.run(make("here")))
    assert list(answers) == ["elsewhere", "here"]


async def test_a_group_whose_calls_take_long_is_committed_in_parts(writer, monkeypatch):
    monkeypatch.setattr(group_writer, "LONGEST_GROUP_SECONDS", 0)
    committed: list[str] = []

    def call(name: str):
        def made() -> list[str]:
            before = list(committed)
            transaction.on_commit(lambda: committed.append(name), robust=True)
            return before

        return made

    assert await together(writer, call("a"), call("b"), call("c")) == [[], ["a"], ["a", "b"]]


async def test_a_guest_writes_before_the_calls_that_wait(writer):
    order: list[str] = []
    gate = Gate()
    first = asyncio.ensure_future(writer.run(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    waiting = [asyncio.ensure_future(writer.run(lambda: order.append("call"))) for _ in range(3)]

    def guest() -> None:
        with writer.turn():
            order.append("guest")

    came = asyncio.ensure_future(asyncio.to_thread(guest))
    await asyncio.to_thread(eventually, lambda: writer._turns._guests)
    assert order == []
    gate.open.set()
    await asyncio.gather(first, came, *waiting)
    assert order == ["guest", "call", "call", "call"]
