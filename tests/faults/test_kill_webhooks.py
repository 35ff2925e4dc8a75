"""A server that is killed between the end of a run and its webhook: the webhook comes after the next start."""

import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.victim import HUMAN, REPEATS, Victim
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.webhooks.receiving import Receiver, receiving

# Leases end soon, for where nobody but they tell that a process has died.
ENVIRONMENT = {"WEBHOOK_PRIVATE_ALLOWED": "127.0.0.0/8", "WEBHOOK_TIMEOUT_SECONDS": "1", "WEBHOOK_CONCURRENCY": "1"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def finished(victim: Victim, receiver: Receiver) -> str:
    """A run that has ended, and whose webhook is owed."""
    thread, run = victim.start("six", input={**HUMAN, "delay": 0.01}, webhook=receiver.url)
    assert victim.until_over(thread, run) == "success"
    return run


def what_was_owed_comes_after_the_start(victim: Victim, receiver: Receiver) -> None:
    # The first is on its way and hangs; the second has not been tried yet.
    receiver.script = [receiver.hangs]
    sent = finished(victim, receiver)
    receiver.wait(1)
    waiting = finished(victim, receiver)
    victim.server.kill()
    assert [found.body["run_id"] for found in receiver.received] == [sent]
    victim.server.start()
    first, *others = receiver.wait(3)
    assert sorted(found.body["run_id"] for found in others) == sorted([sent, waiting])
    [repeated] = [found for found in others if found.body["run_id"] == sent]
    assert repeated.identity == first.identity
    assert repeated.raw == first.raw


def test_what_was_owed_comes_after_the_start(
    server_mode: str, start_victim: Callable[..., Victim], receiver: Receiver
) -> None:
    # A server that owns its data directory knows at once that the one before it died; a worker waits for the lease.
    timeout = "60" if server_mode == "embedded" else "1"
    what_was_owed_comes_after_the_start(start_victim(**{**ENVIRONMENT, "WEBHOOK_TIMEOUT_SECONDS": timeout}), receiver)


@pytest.mark.postgres
def test_what_was_owed_comes_after_the_start_on_postgres(
    postgres_url: str,  # noqa: F811
    receiver: Receiver,
    start_victim: Callable[..., Victim],
) -> None:
    what_was_owed_comes_after_the_start(start_victim(DATABASE_URL=postgres_url, **ENVIRONMENT), receiver)


@pytest.mark.parametrize("seed", range(REPEATS))
def test_every_run_is_told_of_whenever_the_server_is_killed(
    start_victim: Callable[..., Victim], receiver: Receiver, seed: int
) -> None:
    victim = start_victim(**{**ENVIRONMENT, "WEBHOOK_CONCURRENCY": "8"})
    dice = random.Random(seed)
    runs = {victim.start("six", input={**HUMAN, "delay": 0.02}, webhook=receiver.url)[1] for _ in range(12)}
    for _ in range(2):
        time.sleep(dice.uniform(0, 0.4))
        victim.server.kill()
        victim.server.start()
    victim.until(lambda: {found.body["run_id"] for found in receiver.received} == runs)
    assert {found.body["status"] for found in receiver.received} == {"success"}
    told = {(found.body["run_id"], found.identity) for found in receiver.received}
    assert len(told) == len(runs), "one webhook for each run, however often it is sent"


def test_run_whose_process_died_before_its_end_is_told_of_once(
    start_victim: Callable[..., Victim], receiver: Receiver
) -> None:
    victim = start_victim(**ENVIRONMENT)
    thread, run = victim.start("six", input={**HUMAN, "delay": 0.05}, webhook=receiver.url, after_seconds=1)
    victim.die_before_the_end([thread])
    assert receiver.received == []
    victim.server.start()
    assert victim.until_over(thread, run) == "success"
    [told] = receiver.wait(1)
    assert (told.body["run_id"], told.body["status"]) == (run, "success")


def test_server_that_is_told_to_end_lets_requests_under_way_arrive(
    start_victim: Callable[..., Victim], receiver: Receiver
) -> None:
    def slowly(request: object) -> None:
        time.sleep(0.5)
        receiver.then(request)  # type: ignore[arg-type]

    victim = start_victim(**ENVIRONMENT)
    receiver.script = [slowly]
    finished(victim, receiver)
    receiver.wait(1)
    assert victim.server.terminate() == 0
    victim.server.start()
    later = finished(victim, receiver)
    assert [found.body["run_id"] for found in receiver.wait(2)][1:] == [later]
