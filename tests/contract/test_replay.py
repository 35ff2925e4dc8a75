"""Every recorded exchange with the reference server that is due is answered alike."""

import httpx
import pytest

from tests.contract.due import NOT_DUE, is_due, is_meant
from tests.contract.replay import TRANSCRIPTS, Session, load, replay
from tests.contract.setups import BEFORE

FILES = sorted(path.stem for path in TRANSCRIPTS.glob("*.json"))


@pytest.mark.parametrize("file", [file for file in FILES if any(is_due(e.file, e.index) for e in load(file))])
def test_recorded_exchanges_are_answered_alike(file: str, http: httpx.Client) -> None:
    session = Session(http)
    found = []
    for exchange in load(file):
        if not is_due(file, exchange.index):
            continue
        if prepare := BEFORE.get((file, exchange.index)):
            prepare(session)
        try:
            for difference in replay(exchange, session):
                if not is_meant(file, exchange.index, difference):
                    found.append(f"{exchange.title}\n    {difference}")
        except (AssertionError, ValueError, httpx.HTTPError) as broken:
            found.append(f"{exchange.title}\n    {broken!r}")
    for stream in session.streams.values():
        stream.close()
    assert not found, "\n".join(["answers differ from the recorded ones:", *found])


def test_what_is_not_due_names_recorded_exchanges() -> None:
    for file, (indices, reason) in NOT_DUE.items():
        assert reason
        assert file in FILES
        assert all(index < len(load(file)) for index in indices)
