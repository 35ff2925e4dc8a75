from collections.abc import Callable, Iterator

import pytest

from tests.faults.victim import CONFIG, Victim
from tests.faults.worker import DyingWorker
from tests.live import LiveServer
from tests.scaled_stack import ScaledStack

# Leases that run out quickly, and recovered runs that follow one another without a pause.
QUICK = {
    "LEASE_SECONDS": "2",
    "HEARTBEAT_SECONDS": "0.5",
    "SWEEP_SECONDS": "0.5",
    "RECOVERY_PROBATION_SECONDS": "1",
}


@pytest.fixture(scope="module")
def start_victim(server_mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Victim]]:
    """Start a server for this module to kill, or in scale mode a worker: `start_victim(SETTING="value")`."""
    started: list[LiveServer | DyingWorker] = []

    def start(**environment: str) -> Victim:
        directory = tmp_path_factory.mktemp("victim")
        trail = directory / "trail"
        environment = {**QUICK, "TRAIL": str(trail), "LAST_BREATH": str(directory / "last_breath"), **environment}
        if server_mode == "scaled":
            worker = DyingWorker(ScaledStack(CONFIG, **environment).start())
            started.append(worker)
            return Victim(worker, trail, is_scaled=True)
        server = LiveServer(CONFIG, directory, environment)
        started.append(server)
        server.start()
        return Victim(server, trail)

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def victim(start_victim: Callable[..., Victim]) -> Victim:
    return start_victim()
