"""What a run spends its time and tokens on, seen through LangChain's callbacks."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import ChatGeneration, LLMResult

from platform_site.core.error_texts import storable_text
from runs.models import RunSpan

ERROR_LENGTH = 2000
NAME_LENGTH = 200
NAMESPACE_LENGTH = 500
# Tasks whose nodes are known by name: more than run side by side.
TASKS_KNOWN = 1000


class SpanRecorder(BaseCallbackHandler):
    """Collects spans of nodes, models and tools, and counts tokens.

    Callbacks come from the run loop and from threads of synchronous nodes; each touches its own span only.
    """

    run_inline = True

    def __init__(self, attempt: int, *, tokens_only: bool) -> None:
        self._attempt = attempt
        self._tokens_only = tokens_only
        self._open: dict[UUID, RunSpan] = {}
        # The open nodes, by the namespace in which their own calls run.
        self._nodes: dict[str, UUID] = {}
        # The nodes of the newest tasks, by the id of the task.
        self._of_tasks: dict[str, str] = {}
        self._ended: list[RunSpan] = []
        self.input_tokens = 0
        self.output_tokens = 0

    @property
    def ignore_chain(self) -> bool:
        return self._tokens_only

    @property
    def ignore_agent(self) -> bool:
        return self._tokens_only

    @property
    def ignore_retriever(self) -> bool:
        return True

    @property
    def ignore_custom_event(self) -> bool:
        return True

    def take(self) -> list[RunSpan]:
        """The spans that have ended since the last call, not yet tied to a run."""
        ended, self._ended = self._ended, []
        return ended

    def open_nodes(self) -> list[str]:
        """The nodes that work now, by name."""
        return sorted({span.name for span in list(self._open.values()) if span.kind == RunSpan.Kind.NODE})

    def node_of(self, task_id: str) -> str | None:
        """Return the name of the task's node, or None if too many tasks have begun since."""
        return self._of_tasks.get(task_id)

    @property
    def has_ended_spans(self) -> bool:
        return bool(self._ended)

    def _start(
        self, kind: RunSpan.Kind, name: str, run_id: UUID, parent: UUID | None, metadata: dict[str, Any] | None
    ) -> None:
        if self._tokens_only:
            return
        namespace = storable_text(str((metadata or {}).get("langgraph_checkpoint_ns") or ""))[:NAMESPACE_LENGTH]
        is_node = kind == RunSpan.Kind.NODE
        if parent not in self._open:
            # Between two spans there may be runnables that have none.
            parent = self._nodes.get(namespace.rpartition("|")[0] if is_node else namespace)
        if is_node:
            self._nodes[namespace] = run_id
            self._of_tasks[namespace.rpartition(":")[2]] = storable_text(name)
            if len(self._of_tasks) > TASKS_KNOWN:
                del self._of_tasks[next(iter(self._of_tasks))]
        self._open[run_id] = RunSpan(
            span_id=run_id,
            parent_id=parent,
            attempt=self._attempt,
            kind=kind,
            name=storable_text(name)[:NAME_LENGTH],
            namespace=namespace,
            started_at=datetime.now(UTC),
        )

    def _end(self, run_id: UUID, error: BaseException | None = None, tokens: tuple[int, int] = (0, 0)) -> None:
        self.input_tokens += tokens[0]
        self.output_tokens += tokens[1]
        span = self._open.pop(run_id, None)
        if span is None:
            return
        if self._nodes.get(span.namespace) == run_id:
            del self._nodes[span.namespace]
        span.ended_at = datetime.now(UTC)
        span.input_tokens, span.output_tokens = tokens
        if error is not None and type(error).__name__ not in ("GraphInterrupt", "ParentCommand"):
            span.error = storable_text(f"{type(error).__name__}: {error}")[:ERROR_LENGTH]
        self._ended.append(span)

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        # Of the many runnables inside a node only the node itself carries the step's tag.
        metadata, name = kwargs.get("metadata") or {}, kwargs.get("name")
        is_node = name == metadata.get("langgraph_node") and any(
            tag.startswith("graph:step:") for tag in kwargs.get("tags") or ()
        )
        if is_node and name is not None:
            self._start(RunSpan.Kind.NODE, name, run_id, parent_run_id, metadata)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        metadata = kwargs.get("metadata") or {}
        name = metadata.get("ls_model_name") or kwargs.get("name") or (serialized or {}).get("name") or "model"
        self._start(RunSpan.Kind.MODEL, str(name), run_id, parent_run_id, metadata)

    def on_llm_start(
        self, serialized: Any, prompts: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.on_chat_model_start(serialized, prompts, run_id=run_id, parent_run_id=parent_run_id, **kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, tokens=_tokens(response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        name = kwargs.get("name") or (serialized or {}).get("name") or "tool"
        self._start(RunSpan.Kind.TOOL, str(name), run_id, parent_run_id, kwargs.get("metadata"))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)


def _tokens(response: LLMResult) -> tuple[int, int]:
    """Input and output tokens of a model call, zero where the model does not tell."""
    given, made = 0, 0
    for generations in response.generations:
        for generation in generations:
            usage = (
                getattr(generation.message, "usage_metadata", None) if isinstance(generation, ChatGeneration) else None
            )
            if usage:
                given += usage.get("input_tokens") or 0
                made += usage.get("output_tokens") or 0
    return given, made
