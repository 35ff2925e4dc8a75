"""One attempt at a run: build the graph, stream it into the event log, write how it ended.

The same coroutine executes a run in every mode; only who calls it differs.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.database.access import in_db, storable
from platform_site.core.database.unavailable import DatabaseUnavailable
from platform_site.core.error_texts import full_text
from platform_site.core.events.configured import event_log
from platform_site.core.graphs.context import node_context
from platform_site.core.graphs.output import INTERRUPT, Output, questions_of
from platform_site.core.graphs.registry import registry
from platform_site.core.loopback.acting import Actor, acting_for
from platform_site.core.scope import Scope
from platform_site.core.serialization.serializer import Losses
from platform_site.core.telemetry import metrics
from platform_site.core.wire import encode
from runs.configuration import without_mirror
from runs.engine import endings
from runs.engine.caller import caller_of
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.finish import finish, flush_spans, show_state
from runs.engine.lease import Lease
from runs.engine.lent_slots import Lending, LentSlot
from runs.engine.node_threads import Work, current_work
from runs.engine.own_writes import in_db_for_run, in_db_when_back
from runs.engine.queue import cancel_asked, release
from runs.engine.start import attempt_config, chunks_of, confirmed, start_of, without_fork_point
from runs.engine.stopping import Stop, Stopper
from runs.engine.telemetry import Telemetry
from runs.models import RunAttempt, RunSpan, RunStatus
from runs.streaming.modes import EventEncoder, graph_modes
from threads.head import head_of
from threads.state import AnyPregel

logger = logging.getLogger("switchyard.runs")

DRAINED = {
    "error": "ServerShutdown",
    "message": "The server is shutting down; the run goes on when it is back.",
}


class Attempt:
    """An attempt in progress. `execute` on the run loop; `stop` from the run loop too."""

    def __init__(
        self,
        claim: Claim,
        next_worker: Callable[[], str | None],
        slot_given_up: Callable[[], None] = lambda: None,
        lending: Lending | None = None,
    ) -> None:
        """`next_worker` is asked at the end who claims the thread's next run; None leaves it pending.

        `slot_given_up` is called when the attempt, which should be over, holds its slot no longer. `lending` counts
        the slot while the attempt lends it.
        """
        self.claim = claim
        self.lease = Lease(claim)
        self.stopped_by: Stop | None = None
        # Whether the run is pending again, for another attempt.
        self.given_back = False
        # Done when nothing of the attempt is left, in whatever way it ended.
        self.over: Future[None] = Future()
        # False once it could not be stopped in time: others may use its slot, its run and thread stay its own.
        self.holds_slot = True
        self._slot_given_up = slot_given_up
        self._next_worker = next_worker
        self._name = str(claim.run_id)
        self._log = event_log()
        self._work = Work()
        self.slot = LentSlot(lending or Lending(), self._work)
        # From the attempt's begin on.
        self._stopper: Stopper | None = None
        self._telemetry = Telemetry(claim)
        self._recorder = self._telemetry.recorder
        # What this attempt read from checkpoints as plain data, though it was stored as something else.
        self._losses = Losses()
        self._encoder = EventEncoder(claim.kwargs["stream_mode"], subgraphs=claim.kwargs["subgraphs"])

    @property
    def scope(self) -> Scope:
        """What the attempt may touch, under its lease."""
        claim = self.claim
        return Scope(
            workspace_id=claim.workspace_id,
            thread_id=claim.thread_id,
            graph_id=claim.graph_id,
            run_id=claim.run_id,
            fence=self.lease,
            is_temporary=claim.is_temporary,
        )

    def _actor(self) -> Actor:
        """Return for whom the SDK acts inside the graph."""
        claim = self.claim
        principal = caller_of(claim)
        return Actor(principal, thread_id=claim.thread_id, run_id=claim.run_id, waiting=self.slot.waiting)

    def stop(self, reason: Stop) -> None:
        """End the attempt as soon as its graph lets go. The first reason counts, but a lost lease beats all."""
        if reason is Stop.LOST:
            self.lease.lose()
        if self.stopped_by is None or reason is Stop.LOST:
            self.stopped_by = reason
        if self._stopper is not None:
            self._stopper.ask()

    async def execute(self) -> list[Claim]:
        """Run the attempt to its end; the claims that its end made on the thread's next run."""
        with self._telemetry.attempt(), acting_for(self._actor()):
            return await self._execute()

    async def _execute(self) -> list[Claim]:
        current_work.set(self._work)
        deadline = asyncio.get_running_loop().time() + settings.RUN_TIME_LIMIT_SECONDS
        self._stopper = stopper = Stopper(deadline, settings.STOP_GRACE_SECONDS, self._give_up_slot)
        if self.stopped_by is not None:
            stopper.ask()
        try:
            return await self._execute_until_stopped(stopper)
        finally:
            stopper.over()
            # It knows the attempt: together they would wait for a garbage collection.
            self._stopper = None

    async def _execute_until_stopped(self, stopper: Stopper) -> list[Claim]:
        self._begin_stream(self.claim.attempt)
        self._emit("metadata", encode({"run_id": self.claim.run_id, "attempt": self.claim.attempt}))
        try:
            ending = await self._attempt(stopper)
        except LeaseLost as error:
            logger.warning("gave up: %s", error)
            return []
        except DatabaseUnavailable as error:
            await self._give_back_later(error)
            return []
        if ending is None:
            return []
        return await self._finish(ending)

    async def abandon(self, ending: Ending) -> list[Claim]:
        """End a run without another attempt. Its graph is not opened: that may be what ends every process."""
        with self._telemetry.end_only():
            # The log may hold events of an attempt that did not count: its number is the next one's.
            self._begin_stream(self.claim.attempt + 1)
            if ending.rollback and not self.claim.is_temporary:
                await checkpoints().delete_run(self.claim.thread_id, self.claim.run_id)
            return await self._finish(ending)

    async def show_state(self) -> None:
        """After `abandon`: let the thread show the state that the run reached, if its graph can be opened."""
        if self.claim.is_temporary:
            return
        try:
            with acting_for(self._actor()):
                async with self._graph() as (graph, config):
                    head = head_of(await graph.aget_state(without_fork_point(config)), Output.of(graph))
        except Exception:
            logger.exception("the state of an abandoned run cannot be read")
            return
        await in_db_for_run(show_state, self.claim, head)

    async def flush_spans(self) -> None:
        """Store the spans that have ended so far, for those who watch."""
        self._telemetry.count_events()
        if self._recorder.has_ended_spans and not self.claim.is_temporary:
            spans = self._telemetry.take_spans()
            try:
                await in_db(flush_spans, self.claim, spans)
            except DatabaseError:
                # They go with the next ones, or with the end of the run.
                self._telemetry.keep_spans(spans)
                raise

    def _begin_stream(self, attempt: int) -> None:
        claim = self.claim
        self._log.begin(self._name, self.scope.feed, attempt=attempt, resumable=claim.kwargs["resumable"])

    def _emit(self, name: str, data: bytes) -> None:
        self._telemetry.event(len(data))
        self._log.append(self._name, name, storable(data))

    async def _attempt(self, stopper: Stopper) -> Ending | None:
        """Open and stream the graph; how it ended. None: stopped without an end of the run."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                opened = await self._opened(stack, stopper)
                ending = opened if isinstance(opened, Ending) else await self._streamed(*opened, stopper)
                if self.stopped_by is Stop.LOST:
                    logger.info("gave up: the run was deleted or taken away")
                    return None
                if self.stopped_by is Stop.DRAIN and ending.status is RunStatus.INTERRUPTED:
                    if await self._gave_back():
                        return None
                    # Somebody has cancelled the run meanwhile, or it is no longer ours: then nothing is written.
                    self.claim.cancel_action = await in_db_for_run(cancel_asked, self.claim)
                    ending = self.cancelled()
                if not self.claim.is_temporary:
                    await self._settle(ending, None if isinstance(opened, Ending) else opened)
                return ending
        except (LeaseLost, DatabaseUnavailable):
            raise
        except BaseException as error:
            # The graph could not be opened or closed, or its state not be read.
            return self._failed(error)

    async def _opened(
        self, stack: contextlib.AsyncExitStack, stopper: Stopper
    ) -> tuple[AnyPregel, RunnableConfig] | Ending:
        """The graph, open until `stack` closes; or how the run ended while its graph was being made."""
        task = asyncio.current_task()
        assert task is not None
        if self.stopped_by is not None:
            return self.cancelled()
        try:
            with stopper.watching(task):
                return await stack.enter_async_context(self._graph())
        except BaseException:
            if (ending := self._stopped(stopper)) is None:
                raise
            return ending
        finally:
            while task.cancelling():
                task.uncancel()

    async def _streamed(self, graph: AnyPregel, config: RunnableConfig, stopper: Stopper) -> Ending:
        task = asyncio.create_task(self._stream(graph, config))
        try:
            with stopper.watching(task):
                await task
            # A drain is content with a graph that came to its end; a cancel and the time limit stand all the same.
            stopped = self._stopped(stopper) if self.stopped_by is not Stop.DRAIN or stopper.timed_out else None
            return stopped or Ending(RunStatus.SUCCESS)
        except (LeaseLost, DatabaseUnavailable):
            raise
        except BaseException as error:
            # Of any kind: a node may turn its cancellation into an exception of its own, and raise `CancelledError`,
            # `KeyboardInterrupt` or `SystemExit` by itself.
            if isinstance(error, SystemExit):
                error = RuntimeError(f"The graph called sys.exit({error.code!r})")
            return self._stopped(stopper) or self._failed(error)
        finally:
            await self._threads_done(stopper)

    def _stopped(self, stopper: Stopper) -> Ending | None:
        """The end of an attempt that was stopped, however the graph took it; None if it was not."""
        if stopper.timed_out and self.stopped_by in (None, Stop.DRAIN):
            return endings.timed_out()
        return self.cancelled() if self.stopped_by is not None else None

    async def _stream(self, graph: AnyPregel, config: RunnableConfig) -> None:
        kwargs = self.claim.kwargs
        start = await start_of(self.claim, self.lease, graph, config)
        if start.stopped_at is not None:
            self._show_stop(start.stopped_at)
            return
        if not start.from_fork_point:
            config = without_fork_point(config)
        async for namespace, mode, chunk in chunks_of(graph, start.input, config, self._context, kwargs):
            for name, data in self._encoder.events(namespace, mode, chunk):
                self._emit(name, data)

    def _show_stop(self, stopped_at: StateSnapshot) -> None:
        """Tell readers once more where the run stopped: what an attempt before this one told them may be lost."""
        asked = tuple(stopped_at.interrupts)
        values = self._encoder.output.shown(stopped_at.values)
        chunks: list[tuple[str, Any]] = [("updates", {INTERRUPT: asked})]
        chunks.append(("values", {**values, INTERRUPT: asked} if asked and isinstance(values, dict) else values))
        for mode, chunk in chunks:
            if mode in graph_modes(self.claim.kwargs["stream_mode"]):
                for name, data in self._encoder.events((), mode, chunk):
                    self._emit(name, data)

    @contextlib.asynccontextmanager
    async def _graph(self) -> AsyncIterator[tuple[AnyPregel, RunnableConfig]]:
        claim, graphs = self.claim, registry()
        config, given = attempt_config(claim), claim.kwargs.get("context") or {}
        config["callbacks"] = [self._recorder]
        scope = self.scope
        saver, store = scope.saver(graphs.allowlist(claim.graph_id), self._losses), scope.store()
        async with graphs.open(
            claim.graph_id, config, checkpointer=saver, store=store, access="run", context=given
        ) as graph:
            self._context = node_context(graph.context_schema, given)
            self._encoder.output = Output.of(graph)
            known = without_mirror(config, claim.kwargs, graph.context_schema)
            yield graph, confirmed(graph, known, scope)

    async def _settle(self, ending: Ending, opened: tuple[AnyPregel, RunnableConfig] | None) -> None:
        """Undo a run that is rolled back, and put the state that the thread has now into the ending."""
        if ending.rollback or ending.status in (RunStatus.INTERRUPTED, RunStatus.TIMEOUT):
            # A graph that is stopped while it waits for its last checkpoints leaves their writes behind, under way.
            self.lease.lose()
            self.claim.lease_owner = await checkpoints().end_writes(self.lease)
        if ending.rollback:
            await checkpoints().delete_run(self.claim.thread_id, self.claim.run_id)
        if opened is not None:
            graph, config = opened
            ending.head = head_of(await graph.aget_state(without_fork_point(config)), Output.of(graph))

    def _give_up_slot(self) -> None:
        """Leave the slot to others: what cannot be stopped may take for ever. The run goes on to hold its thread."""
        self.holds_slot = False
        self.slot.end()
        nodes = self._work.give_up_threads() or self._recorder.open_nodes() or ["unknown"]
        message = "run %s should be over and still works in node %s; its slot is given to others, not its thread"
        logger.warning(message, self.claim.run_id, ", ".join(nodes))
        metrics.SLOTS_GIVEN_UP.inc()
        self._slot_given_up()

    async def _threads_done(self, stopper: Stopper) -> None:
        """Wait for synchronous nodes that a cancelled or timed out attempt left behind: they still own the thread."""
        loop, idle = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(idle.set)

        if self._work.is_idle:
            return
        stopper.is_to_end()
        self._work.when_idle(wake)
        while not idle.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await idle.wait()

    def cancelled(self) -> Ending:
        """Return the end that was asked for."""
        return endings.cancelled(self.claim.cancel_action)

    def _failed(self, error: BaseException) -> Ending:
        ending = endings.failed(error, self._losses, self._recorder.node_of)
        # The whole text, because clients may have been told no more than the exception's class.
        logger.info("failed with %s: %s", type(error).__name__, full_text(error), exc_info=error)
        return ending

    async def _gave_back(self) -> bool:
        if not await in_db_for_run(release, self.claim, counts=False, reason=RunAttempt.Reason.DRAINED):
            return False
        self.given_back = True
        self.lease.lose()
        self._telemetry.given_back = True
        self._log.leave(self._name, "error", encode(DRAINED), encode({"__error__": DRAINED}))
        return True

    async def _give_back_later(self, error: DatabaseUnavailable) -> None:
        """Make the run pending again once the database is back; the next attempt goes on where this one was.

        Its readers stay: the next attempt writes to the same log.
        """
        logger.warning("the database is out of reach (%s); the run is tried again when it is back", error)
        give_back = partial(release, self.claim, counts=False, reason=RunAttempt.Reason.LOST)
        self.given_back = await in_db_when_back(give_back)
        self.lease.lose()
        self._telemetry.given_back = self.given_back
        self._log.pause(self._name)

    async def _finish(self, ending: Ending) -> list[Claim]:
        spans: list[RunSpan] = []
        while True:
            spans += self._telemetry.take_spans()
            ending.spans = spans
            ending.input_tokens, ending.output_tokens = self._recorder.input_tokens, self._recorder.output_tokens
            next_claims = await in_db_when_back(partial(self._write_end, ending))
            if next_claims is not None or not (action := await in_db_when_back(partial(cancel_asked, self.claim))):
                break
            # Somebody cancelled the run after its graph had ended, and was told that it will be.
            self.claim.cancel_action = action
            ending = self.cancelled()
            async with self._graph() as opened:
                await self._settle(ending, opened)
        self.lease.lose()
        if next_claims is None:
            logger.warning("the end of the run was refused: its lease is lost")
            return []
        self._telemetry.run_ended(ending)
        outcome = storable(self._outcome(ending))
        if ending.status in (RunStatus.ERROR, RunStatus.TIMEOUT):
            self._emit("error", encode(ending.error))
        self._log.close(self._name, outcome)
        return next_claims

    def _write_end(self, ending: Ending) -> list[Claim] | None:
        return finish(self.claim, ending, self._next_worker())

    def _outcome(self, ending: Ending) -> bytes:
        if ending.status in (RunStatus.ERROR, RunStatus.TIMEOUT):
            return encode({"__error__": ending.error})
        if ending.head is None:
            return self._encoder.outcome
        # The interrupts that the thread shows, in its order.
        questions = questions_of(ending.head.interrupts)
        if self._encoder.has_values:
            return self._encoder.outcome_with(questions)
        return self._encoder.output.answer(orjson.loads(ending.head.values), questions)
