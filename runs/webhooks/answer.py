"""What came of the request of a webhook."""

from dataclasses import dataclass, field


@dataclass
class Answer:
    """What came of a request. Without a `status` there was no answer, and `error` says why."""

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    error: str = ""
    milliseconds: int = 0

    def header(self, name: str) -> str | None:
        return next((value for found, value in self.headers if found == name), None)
