"""Where a model's calls run: on the event loop while they are fast, in threads, or in a worker process.

Measured, not guessed: a call on the loop costs no thread switch, and one that takes longer than
LOOP_LIMIT_S there would keep probes and other requests waiting.
"""

import asyncio
from collections.abc import Callable
from math import inf
from resource import RUSAGE_THREAD, getrusage
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from kfunc.errors import DeadlineExceeded, ModelFailed
from kfunc.telemetry.current import CURRENT

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from kfunc.handlers.contract import Arrays
    from kfunc.protocol.contract import Context

    Call = Callable[[Arrays], Arrays]

LOOP_LIMIT_S = 0.001
SLOW_RUNS = 3  # one may be the machine's fault
STALL_S = 0.02  # the machine's fault only where another took the processor
# Inputs may be this many times larger than what has been measured as fast before they are tried in a thread first.
GROWTH = 4
PROBE_S = 0.02
GIL_HOLD_S = 0.1
GIL_HELD_CALLS = 2


def preemptions() -> int:
    """How often the processor was taken from the calling thread: by others, or by a limit on the container."""
    return getrusage(RUSAGE_THREAD).ru_nivcsw


class Execution:
    """Runs `call` for one loaded model. `mode` is `auto` or fixed: `loop`, `thread`.

    `alone` says that a model takes one call at a time: while one is in a thread, none is on the loop; `announces` that
    its code may ask for which request it runs.
    """

    def __init__(
        self,
        call: "Call",
        mode: str,
        executor: "Callable[[], Executor]",
        on_gil_held: Callable[[], None] | None = None,
        *,
        alone: bool = False,
        announces: bool = False,
        count_preemptions: Callable[[], int] = preemptions,
    ) -> None:
        self.call = call
        self._mode = mode
        self._make_executor = executor
        self._executor: Executor | None = None
        self._on_gil_held = on_gil_held
        self._alone = alone
        self._announces = announces
        self._in_threads = 0  # calls that wait for a thread or are in one
        # The largest input, in elements, that has been fast enough for the loop, times GROWTH.
        self._fast_size: float = inf if mode == "loop" else -1
        self.loop_size = self._fast_size
        """The largest input, in elements, that may be run on the loop now."""
        self._slow_runs = 0
        self._fast_runs = 0
        self._fast_runs_needed = 1  # more each time that the loop was held up: a model's time may lie in its data
        self._count_preemptions = count_preemptions
        self._preemptions = count_preemptions()
        self._gil_held_calls = 0
        self._running: set[float] = set()

    def run(self, inputs: "Arrays", size: int, context: "Context") -> "Arrays":
        """Call the model here and now, measuring it."""
        token = CURRENT.set(context) if self._announces else None
        context.compute_at = started_at = perf_counter()
        try:
            return self.call(inputs)
        finally:
            context.compute_s = duration_s = perf_counter() - started_at
            if token is not None:
                CURRENT.reset(token)
            if duration_s > LOOP_LIMIT_S or self._slow_runs:
                self._measured(size, duration_s)

    def _measured(self, size: int, duration_s: float) -> None:
        if self._mode != "auto":
            return
        if duration_s <= LOOP_LIMIT_S:
            self._slow_runs = 0
            if size > self._fast_size:
                self._fast_runs += 1
            if self._fast_runs >= self._fast_runs_needed:
                self._fast_runs = 0
                self._allow(max(self._fast_size, size * GROWTH))
            return
        self._fast_runs = 0
        if size <= self._fast_size:
            self._slow_runs += SLOW_RUNS if duration_s >= STALL_S and not self._was_preempted() else 1
            if self._slow_runs >= SLOW_RUNS:
                self._slow_runs = 0
                self._allow(size // 2 if size > 1 else -1)
                self._fast_runs_needed = min(self._fast_runs_needed * 8, 4096)

    def _was_preempted(self) -> bool:
        """Whether the processor was taken from this thread since the last stall: then the machine may be at fault."""
        before, self._preemptions = self._preemptions, self._count_preemptions()
        return self._preemptions != before

    def _allow(self, size: float) -> None:
        self._fast_size = size
        self._settle()

    def _settle(self) -> None:
        self.loop_size = -1 if self._alone and self._in_threads else self._fast_size

    async def run_in_thread(
        self, inputs: "Arrays", size: int, timeout_s: float, context: "Context", call: "Call | None" = None
    ) -> "Arrays":
        """Call the model, or `call` without measuring it, in a thread.

        Raises DeadlineExceeded; the thread then ends on its own.
        """
        loop = asyncio.get_running_loop()
        if self._executor is None:
            self._executor = self._make_executor()
        answer: asyncio.Future[Arrays] = loop.create_future()
        timer = loop.call_later(timeout_s, _expire, answer)
        watch = LoopWatch(loop) if call is None and self._on_gil_held is not None and self._mode == "auto" else None
        job = loop.run_in_executor(self._executor, self._in_thread, inputs, size, context, watch, call, perf_counter(), answer)
        self._in_threads += 1
        self._settle()
        job.add_done_callback(lambda done: self._left_thread(done, answer))
        try:
            return await answer
        finally:
            timer.cancel()
            if watch is not None:
                watch.stop()
                self._judge_gil(watch)

    def do_later(self, work: Callable[[], None]) -> None:
        """Do something in a thread that nobody waits for."""
        if self._executor is not None:
            asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _left_thread(self, job: "asyncio.Future[Arrays]", answer: "asyncio.Future[Arrays]") -> None:
        self._in_threads -= 1
        self._settle()
        _pass_on(job, answer)

    def _in_thread(
        self,
        inputs: "Arrays",
        size: int,
        context: "Context",
        watch: "LoopWatch | None",
        call: "Call | None",
        queued_at: float,
        answer: "asyncio.Future[Arrays]",
    ) -> "Arrays":
        if context.cancelled or answer.done():
            return {}  # nobody waits any more
        began_at = monotonic()
        self._running.add(began_at)
        context.compute_at = started_at = perf_counter()
        context.queue_s = started_at - queued_at
        if watch is not None:
            watch.began_at = started_at
        CURRENT.set(context)
        try:
            return (call or self.call)(inputs)
        finally:
            CURRENT.set(None)
            context.compute_s = duration_s = perf_counter() - started_at
            self._running.discard(began_at)
            if call is None:
                self._measured(size, duration_s)
            if watch is not None:
                watch.duration_s = duration_s

    def _judge_gil(self, watch: "LoopWatch") -> None:
        if watch.duration_s >= GIL_HOLD_S and watch.longest_gap_s >= 0.5 * watch.duration_s:
            self._gil_held_calls += 1
            if self._gil_held_calls == GIL_HELD_CALLS and self._on_gil_held is not None:
                self._on_gil_held()

    def stuck(self, limit_s: float) -> bool:
        """Whether a call has been running for longer than `limit_s`."""
        return monotonic() - min(tuple(self._running), default=inf) > limit_s


class LoopWatch:
    """Measures how long the event loop did not turn while a call ran in a thread: who holds the GIL holds it too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.began_at = 0.0
        self.duration_s = 0.0
        self.longest_gap_s = 0.0
        self._loop = loop
        self._last = perf_counter()
        self._timer = loop.call_later(PROBE_S, self._probe)

    def _probe(self) -> None:
        self._note()
        self._timer = self._loop.call_later(PROBE_S, self._probe)

    def _note(self) -> None:
        now = perf_counter()
        if self.began_at:
            self.longest_gap_s = max(self.longest_gap_s, now - max(self._last, self.began_at))
        self._last = now

    def stop(self) -> None:
        """The call has ended."""
        self._note()
        self._timer.cancel()


def too_late() -> DeadlineExceeded:
    """The time for an answer is over."""
    return DeadlineExceeded("the model did not answer in time (timeout_s, or the caller's deadline)")


def _expire(answer: "asyncio.Future[Arrays]") -> None:
    if not answer.done():
        answer.set_exception(too_late())


def _pass_on(job: "asyncio.Future[Arrays]", answer: "asyncio.Future[Arrays]") -> None:
    if job.cancelled():
        answer.cancel()
        return
    error = job.exception()
    if answer.done():
        return
    if isinstance(error, asyncio.CancelledError):
        answer.set_exception(ModelFailed("the model was cancelled from within"))  # a caller would wait for ever
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(job.result())
