"""The worker of a scaled stack as the server that is made to die: clients stay connected to its web process."""

import subprocess

from tests.scaled_stack import ScaledStack, Worker


class DyingWorker:
    """What tests do to a `LiveServer`, done to the one worker behind a web process."""

    def __init__(self, stack: ScaledStack) -> None:
        self.stack = stack

    @property
    def worker(self) -> Worker:
        return self.stack.workers[0]

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def log(self) -> str:
        return self.worker.log

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        return self.worker.process

    def kill(self) -> None:
        self.worker.kill()

    def launch(self) -> None:
        self.worker.launch()

    def wait_ready(self) -> None:
        self.worker.wait_ready()

    def start(self) -> None:
        self.worker.start()

    def restart(self) -> None:
        self.worker.restart()

    def terminate(self) -> int:
        return self.worker.terminate()

    def stop(self) -> None:
        self.stack.stop()
