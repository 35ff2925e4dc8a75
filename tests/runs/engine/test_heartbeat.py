"""What the heartbeat learns of the runs in work, and what it survives."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import create_autospec

import pytest
from django.db import InterfaceError

from platform_site.access.principal import Principal
from runs.engine import queue
from runs.engine.engine import Engine
from runs.engine.peers import Peers
from runs.models import Run
from tests.runs.conftest import Gate, create, ended, eventually, use_engine
from tests.runs.graphs import script

PAUSE: dict[str, Any] = {"input": {"do": "pause"}}


@pytest.fixture
def pause(gate: Gate) -> Iterator[Gate]:
    """`{"do": "pause"}` waits at this gate."""
    with script("pause", gate.pause):
        yield gate


def test_cancel_that_came_past_this_process_is_seen_by_the_heartbeat(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    engine = use_engine(monkeypatch, Engine())
    engine.start()
    try:
        run = create(principal, "scripted", **PAUSE)
        assert pause.reached.wait(10)
        Run.objects.filter(pk=run.pk).update(cancel_action="interrupt", status="interrupted")
        assert ended(run).error_class == "UserInterrupt"
    finally:
        engine.drain(0)


def test_run_that_was_taken_away_stops(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    engine = use_engine(monkeypatch, Engine())
    engine.start()
    try:
        run = create(principal, "scripted", **PAUSE)
        assert pause.reached.wait(10)
        Run.objects.filter(pk=run.pk).update(lease_owner="another/process/2")
        assert pause.cancelled.wait(10)
        eventually(lambda: engine.active == 0)
        assert Run.objects.get(pk=run.pk).lease_owner == "another/process/2"
    finally:
        engine.drain(0)


def test_a_run_that_was_taken_away_is_left_to_whoever_has_it_now(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.HEARTBEAT_SECONDS = 0.1
    others = create_autospec(Peers, instance=True)
    engine = use_engine(monkeypatch, Engine(others))
    engine.start()
    try:
        run = create(principal, "scripted", **PAUSE)
        assert pause.reached.wait(10)
        Run.objects.filter(pk=run.pk).update(lease_owner="another/process/2")
        assert pause.cancelled.wait(10)
        eventually(lambda: engine.active == 0)
        others.lose.assert_not_called()
    finally:
        engine.drain(0)


def test_heartbeat_survives_whatever_the_database_says(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.HEARTBEAT_SECONDS = 0.05
    engine = use_engine(monkeypatch, Engine())
    renewed, real = [], queue.renew

    def renew(owners: list[str]) -> Any:
        renewed.append(owners)
        if len(renewed) < 3:
            raise InterfaceError("connection already closed")
        return real(owners)

    monkeypatch.setattr(queue, "renew", renew)
    engine.start()
    try:
        create(principal, "scripted", **PAUSE)
        eventually(lambda: len(renewed) > 3)
    finally:
        pause.open.set()
        engine.drain(5)
