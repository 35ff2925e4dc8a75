"""Calls on threads over plain HTTP, short to write in tests."""

from typing import Any

import httpx


class ThreadCalls:
    """One new thread of a server."""

    def __init__(self, http: httpx.Client, thread_id: str | None = None, **fields: Any) -> None:
        self.http = http
        self.id: str = thread_id or http.post("/threads", json=fields).json()["thread_id"]

    def wait(self, assistant: str, **fields: Any) -> Any:
        """Run to the end; the JSON of the answer, whose status must be 200."""
        answer = self.http.post(f"/threads/{self.id}/runs/wait", json={"assistant_id": assistant, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.http.post(f"/threads/{self.id}/{path}", json=fields)

    def get(self, path: str = "") -> httpx.Response:
        return self.http.get(f"/threads/{self.id}{path}")

    def update(self, **fields: Any) -> httpx.Response:
        return self.post("state", **fields)

    def row(self) -> dict[str, Any]:
        """The thread itself."""
        row: dict[str, Any] = self.get().json()
        return row

    def state(self) -> dict[str, Any]:
        answer = self.get("/state")
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    def history(self) -> list[dict[str, Any]]:
        """All states, the newest first."""
        answer = self.post("history", limit=100)
        assert answer.status_code == 200, answer.text
        states: list[dict[str, Any]] = answer.json()
        return states
