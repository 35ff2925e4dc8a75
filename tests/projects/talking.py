"""Conversations with a served project, step by step, as `expected.yaml` writes them down."""

import re
from dataclasses import dataclass, field
from typing import Any

import httpx
from langgraph_sdk import get_sync_client

from tests.projects.short import events, short

Json = dict[str, Any]
# What a step `run` passes on as it is.
RUN_FIELDS = ("input", "command", "context", "config", "interrupt_before", "interrupt_after", "durability")
HAS_NO_ANSWER = object()


@dataclass
class Conversation:
    """One conversation: its threads and the assistants that it made, by name."""

    url: str
    http: httpx.Client
    # Names in `{}` of a step, and what they stand for.
    ids: dict[str, str] = field(default_factory=dict)

    def take(self, step: Json) -> tuple[Any, Any]:
        """Take one step and return what was expected and what came. Raises KeyError for a step that nobody knows."""
        kind = next(iter(step))
        taken = {"run": self._run, "state": self._state, "store": self._store, "request": self._request}[kind](step)
        return step.get("gives", HAS_NO_ANSWER), taken

    def _run(self, step: Json) -> Any:
        assistant = self.ids.get(step["run"], step["run"])
        thread = self._thread(step)
        body = {name: self._filled(step[name], step.get("thread", "thread")) for name in RUN_FIELDS if name in step}
        # Its types fit Python callers with typed state.
        client: Any
        with get_sync_client(url=self.url, timeout=60) as client:
            if "stream" not in step:
                waited = short(client.runs.wait(thread, assistant, raise_error=False, **body))
                return {key: waited.get(key, "(missing)") for key in step["only"]} if "only" in step else waited
            streamed = client.runs.stream(
                thread,
                assistant,
                stream_mode=step["stream"],
                stream_subgraphs=step.get("subgraphs", False),
                **body,
            )
            return events(iter(streamed))

    def _state(self, step: Json) -> Any:
        """Return the facts of the thread's state that the step names."""
        thread = self._thread({"thread": step["state"]})
        answer = self.http.get(f"/threads/{thread}/state", params={"subgraphs": step.get("subgraphs", False)})
        answer.raise_for_status()
        state = answer.json()
        facts = {"values": state["values"], "next": state["next"], "interrupts": state["interrupts"]}
        facts["status"] = self.http.get(f"/threads/{thread}").json()["status"]
        return {name: short(facts[name]) for name in step["gives"]}

    def _store(self, step: Json) -> Any:
        body = {"namespace_prefix": step["store"], "limit": 100}
        answer = self.http.post("/store/items/search", json=body)
        answer.raise_for_status()
        return {item["key"]: short(item["value"]) for item in answer.json()["items"]}

    def _request(self, step: Json) -> Any:
        """Send a request, check the status of its answer, and return the facts that the step names."""
        method, _, path = self._filled(step["request"]).partition(" ")
        answer = self.http.request(method, path, json=self._filled(step.get("body")))
        assert answer.status_code == step.get("status", 200), f"{method} {path}: {answer.status_code} {answer.text}"
        content: Any = answer.json() if answer.content else None
        if name := step.get("as"):
            self.ids[name] = content["assistant_id"]
        gives = step.get("gives")
        if isinstance(gives, dict) and isinstance(content, dict):
            content = {key: content.get(key, "(missing)") for key in gives}
        return short(content)

    def _thread(self, step: Json) -> str | None:
        """Return the id of the step's thread, which is made at its first use. Return None for `thread: none`."""
        name = step.get("thread") or "thread"
        if name == "none":
            return None
        if name not in self.ids:
            self.ids[name] = self.http.post("/threads", json={}).raise_for_status().json()["thread_id"]
        return self.ids[name]

    def _filled(self, value: Any, thread: str = "thread") -> Any:
        """Return the value with `{name}` replaced by ids, in strings and keys.

        `{interrupt 1}` is the first open interrupt of the step's thread, `{assistant of chat}` the assistant of the
        graph `chat`. Any other name is an assistant that an earlier step made, or else a thread.
        """
        if isinstance(value, dict):
            return {self._filled(key, thread): self._filled(item, thread) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item, thread) for item in value]
        if not isinstance(value, str):
            return value
        return re.sub(r"\{([\w ]+)\}", lambda found: self._id(found[1], thread), value)

    def _id(self, name: str, thread: str) -> str:
        if name.startswith("interrupt "):
            state = self.http.get(f"/threads/{self.ids[thread]}/state").raise_for_status().json()
            return str(state["interrupts"][int(name.removeprefix("interrupt ")) - 1]["id"])
        if name.startswith("assistant of "):
            graph_id = name.removeprefix("assistant of ")
            (assistant,) = self.http.post("/assistants/search", json={"graph_id": graph_id}).json()
            return str(assistant["assistant_id"])
        return self.ids.get(name) or str(self._thread({"thread": name}))
