"""A stranger at work: sends what `poison` makes, uses what came of it, and keeps everything it is told."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import httpx

from tests.contract.coverage import Document
from tests.contract.operations import ENDLESS, OPERATIONS, Operation
from tests.tenants.places import Place
from tests.tenants.poison import FORK_NAMES, LANGGRAPH_NAMES, SERVER_NAMES, Poison, names, poisoned, poisons
from tests.tenants.victim import CANARY, MARK, Victim, client

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Letters of paths in `tests.contract.operations`, and the ids they stand for.
LETTERS = {"a": "assistant_id", "e": "thread_id", "t": "thread_id", "r": "run_id", "c": "cron_id"}
RUN = {"assistant_id": "report", "input": {"asked": "mine"}}
CRON = {**RUN, "schedule": "0 0 1 1 *"}


def operation_name(operation: Operation) -> str:
    """The operation as the document names it."""
    path = operation.path.replace("/state/x", "/state/{checkpoint_id}")
    path = path.replace("/subgraphs/x", "/subgraphs/{namespace}")
    for letter, name in LETTERS.items():
        path = path.replace(f"{{{letter}}}", f"{{{name}}}")
    return f"{operation.method} {path}"


@dataclass
class Attack:
    """One stranger. `faults` are what it should not have seen or reached."""

    place: Place
    victim: Victim
    document: Document
    role: str
    webhook: str
    http: httpx.Client = field(init=False)
    faults: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    served: int = 0

    def __post_init__(self) -> None:
        self.http = client(self.place, "attacker", self.role)
        self.prefix = self.place.tenants["attacker"]["keys"][self.role]["prefix"]
        self.prefixes = {key["prefix"] for key in self.place.tenants["attacker"]["keys"].values()}

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send a request and look through its answer."""
        if body is not None:
            options["json"] = body
        with self.http.stream(method, path, **options) as answer:
            if path.partition("?")[0].endswith("/stream") and method == "GET" and "/runs/" not in path:
                # It has no end.
                return answer
            answer.read()
        self.sent += 1
        self.served += answer.status_code < 400
        what = f"{method} {path}"
        if CANARY in answer.text or any(CANARY in value for value in answer.headers.values()):
            self.fault(what, f"answers a secret of the victim: {self._around(answer.text)}")
        if answer.status_code >= 500:
            self.fault(what, f"answers {answer.status_code} {answer.text[:200]}")
        for value in values_of(answer):
            for told in reports_in(value):
                self._judge(what, told)
        return answer

    def fault(self, what: str, text: str) -> None:
        self.faults.setdefault(f"{_UUID.sub('{id}', what).partition('?')[0]}: {text[:60]}", text)

    def _around(self, text: str) -> str:
        at = text.find(CANARY)
        return text[max(0, at - 200) : at + 60]

    def _judge(self, what: str, told: dict[str, Any]) -> None:
        """What a graph says that it was given: the server's keys are the server's."""
        configurable = told["config"]["configurable"]
        sent = names(self.victim)
        for name in SERVER_NAMES:
            if name in configurable and configurable[name] == sent[name] and sent[name] != "report":
                self.fault(what, f"a graph was given a forged {name}: {configurable[name]}")
        user = configurable.get("langgraph_auth_user") or {}
        if not isinstance(user, dict) or user.get("identity") not in self.prefixes:
            self.fault(what, f"a graph was given another user: {user}")
        for name in LANGGRAPH_NAMES:
            if configurable.get(name) == MARK:
                self.fault(what, f"a graph was given {name} of a request")

    # --- what it owns -----------------------------------------------------------------------------

    def things(self) -> dict[str, str]:
        """An assistant, a thread with a finished run, one without a graph, and a cron, all its own."""
        empty = self._made("/threads", {})["thread_id"]
        thread = self._made("/threads", {})["thread_id"]
        run = self._made(f"/threads/{thread}/runs", RUN)["run_id"]
        self.ask("GET", f"/threads/{thread}/runs/{run}/join")
        assistant = self._made("/assistants", {"graph_id": "report"})["assistant_id"]
        cron = self._made("/runs/crons", CRON)["cron_id"]
        return {"a": assistant, "e": empty, "t": thread, "r": run, "c": cron}

    def _made(self, path: str, body: Any) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def body_of(self, operation: Operation) -> Any:
        """An accepted body of the operation, with the stranger's webhook where one fits."""

        def own(body: dict[str, Any]) -> dict[str, Any]:
            body = {**body, **{name: "report" for name in ("assistant_id", "graph_id") if name in body}}
            if "input" in body:
                body |= {"input": {"asked": "mine"}, "webhook": self.webhook}
            return body

        body = operation.body
        return [own(item) for item in body] if isinstance(body, list) else own(body) if body is not None else None

    # --- what it sends ----------------------------------------------------------------------------

    def attack(self, operation: Operation, turns: int) -> None:
        """Put the poison into every field of the operation's body, into its query and its headers."""
        name = operation_name(operation)
        everything = names(self.victim)
        texts = {key: value for key, value in everything.items() if isinstance(value, str)}
        headers = {key.strip("_").replace("_", "-"): value for key, value in texts.items() if key.strip("_")}
        body, things = self.body_of(operation), self.things()
        for turn in range(turns):
            self._send(operation, fill(operation.path, things), body, poisons(self.document, name, self.victim, turn))
        asked = [texts]
        known = self.document.operation(name) or {}
        for parameter in known.get("parameters", ()):
            if parameter["in"] == "query":
                own = parameter["name"]
                asked += [{own: text} for text in (self.victim.texts if turns > 1 else [texts.get(own, MARK)])]
        for query in asked:
            things = self.things() if operation.method == "DELETE" else things
            self.ask(operation.method, fill(operation.path, things), body, params=query, headers=headers)

    def _send(self, operation: Operation, path: str, body: Any, wanted: list[Poison]) -> None:
        """All poison in one request; where that fails, each field in a request of its own."""
        if operation.path in ("/threads", "/assistants") and operation.method == "POST":
            # An id that is taken is an error; what else is in the request is to be served.
            self.ask(operation.method, path, poisoned(body, wanted))
            wanted = [poison for poison in wanted if poison.path != (f"{operation.path[1:-1]}_id",)]
        # By themselves as well: other names may break what was made when it is used.
        owned = [poison for poison in wanted if poison.path and poison.path[-1] in (*SERVER_NAMES, *FORK_NAMES)]
        if owned:
            self.ask(operation.method, path, poisoned(body, owned))
        fields = [list(group) for _, group in groupby(wanted, lambda poison: poison.path[:-1])]
        self._halves(operation, path, body, fields)

    def _halves(self, operation: Operation, path: str, body: Any, fields: list[list[Poison]]) -> None:
        if not fields:
            return
        answer = self.ask(operation.method, path, poisoned(body, [poison for field in fields for poison in field]))
        if not failed(answer):
            return
        if len(fields) == 1:
            self._names(operation, path, body, fields[0])
            return
        half = len(fields) // 2
        self._halves(operation, path, body, fields[:half])
        self._halves(operation, path, body, fields[half:])

    def _names(self, operation: Operation, path: str, body: Any, wanted: list[Poison], halvings: int = 3) -> None:
        """The names of one field in smaller and smaller parts, as far as that helps against a refusal."""
        if len(wanted) == 1 or not halvings:
            return
        half = len(wanted) // 2
        for part in (wanted[:half], wanted[half:]):
            if failed(self.ask(operation.method, path, poisoned(body, part))):
                self._names(operation, path, body, part, halvings - 1)

    def trespass(self, operation: Operation) -> None:
        """Name the victim's things in the path, all of them and one at a time."""
        letters = [letter for letter in LETTERS if f"{{{letter}}}" in operation.path]
        foreign = {letter: self.victim.ids[name] for letter, name in LETTERS.items()}
        body, things = self.body_of(operation), self.things() if letters else {}
        for chosen in ([*letters], *([letter] for letter in letters)) if letters else ():
            path = fill(operation.path, {**things, **{letter: foreign[letter] for letter in chosen}})
            if operation.path != ENDLESS:
                self.ask(operation.method, path.replace("/state/x", f"/state/{self.victim.ids['checkpoint_id']}"), body)
        if operation.path.endswith("/state/x"):
            path = fill(operation.path, things).replace("/x", f"/{self.victim.ids['checkpoint_id']}")
            self.ask(operation.method, path)

    def usurp(self, shared: str) -> None:
        """Change what belongs to all workspaces, run it, and in the end delete it."""
        own = [operation for operation in OPERATIONS if "{a}" in operation.path]
        for operation in sorted(own, key=lambda operation: operation.method == "DELETE"):
            path, body = fill(operation.path, {"a": shared}), self.body_of(operation)
            if body is not None:
                wanted = poisons(self.document, operation_name(operation), self.victim, turn=0)
                self._send(operation, path, body, wanted)
            if operation.method == "DELETE":
                self.ask("POST", "/runs/wait", {**RUN, "webhook": self.webhook})
            self.ask(operation.method, path, body)

    # --- what it makes of it ----------------------------------------------------------------------

    def use(self) -> None:
        """Run every assistant, with a thread and without; read every thread, its runs and items in every way."""
        tried: set[str] = set()
        for found in self._all("/assistants/search"):
            # One would wait for ever, the other is a name that no run has by right.
            if found["graph_id"] not in ("held", "other"):
                self._run(found["assistant_id"], {key: found[key] for key in ("config", "context")}, tried)
        self.read()

    def _run(self, assistant: str, made_of: dict[str, Any], tried: set[str]) -> None:
        """Run an assistant; where that fails, assistants with a half of its configuration each, down to one key."""
        if (text := json.dumps(made_of, sort_keys=True)) in tried:
            return
        tried.add(text)
        thread = self._made("/threads", {})["thread_id"]
        run = {**RUN, "assistant_id": assistant, "webhook": self.webhook}
        self.ask("POST", "/runs/wait", run)
        if not failed(self.ask("POST", f"/threads/{thread}/runs/wait", run)):
            return
        keys = [(part, key) for part, fields in made_of.items() for key in fields]
        if len(keys) < 2:
            return
        for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            part_of: dict[str, Any] = {}
            for part, key in half:
                part_of.setdefault(part, {})[key] = made_of[part][key]
            answer = self.ask("POST", "/assistants", {"graph_id": "report", **part_of})
            if answer.status_code < 400:
                self._run(answer.json()["assistant_id"], part_of, tried)

    def read(self) -> None:
        """Read everything that the stranger has."""
        for thread in [found["thread_id"] for found in self._all("/threads/search")]:
            self.ask("GET", f"/threads/{thread}/state?subgraphs=true")
            self.ask("POST", f"/threads/{thread}/history", {"limit": 100})
            self.ask("GET", f"/threads/{thread}/messages")
            for run in self.ask("GET", f"/threads/{thread}/runs?limit=100").json():
                self.ask("GET", f"/threads/{thread}/runs/{run['run_id']}/join")
        self.ask("POST", "/store/items/search", {"namespace_prefix": [], "limit": 1000})
        self.ask("POST", "/store/namespaces", {"limit": 1000})
        self.ask("POST", "/runs/crons/search", {"limit": 1000})

    def _all(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := self.ask("POST", path, {"limit": 100, "offset": len(found)}).json():
            found += page
        return found


def failed(answer: httpx.Response) -> bool:
    """Whether a request was refused, or the run that it waited for failed."""
    return answer.status_code >= 400 or '"__error__"' in answer.text[:200]


def fill(path: str, things: dict[str, str]) -> str:
    for letter, value in things.items():
        path = path.replace(f"{{{letter}}}", value)
    return path


def values_of(answer: httpx.Response) -> Iterator[Any]:
    """The JSON of an answer, or of each of its events."""
    kind = answer.headers.get("content-type", "")
    if "json" in kind and answer.content:
        yield answer.json()
    elif "event-stream" in kind:
        for line in answer.text.splitlines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))


def reports_in(value: Any) -> Iterator[dict[str, Any]]:
    """What graphs have reported, wherever it is in an answer."""
    if isinstance(value, dict):
        if "report_of" in value and "config" in value:
            yield value
            return
        for item in value.values():
            yield from reports_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from reports_in(item)
