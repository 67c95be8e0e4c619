"""A handler's `predict` that yields, as a stream of arrays: each part is made when it is asked for."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kfunc.handlers.contract import Handler
from kfunc.handlers.execution import Execution, too_late
from kfunc.telemetry.current import CURRENT

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.steps import Step
    from kfunc.protocol.contract import Context

    Call = Callable[[Arrays], Arrays]
    TimeLeft = Callable[[], float]

END: dict[str, Any] = {}  # compared by identity


def yields(handler: Handler) -> bool:
    """Whether the model answers in parts."""
    return inspect.isgeneratorfunction(handler.predict) or inspect.isasyncgenfunction(handler.predict)


async def parts_of(
    steps: "list[Step]", arrays: "Arrays", execution: Execution, context: "Context", time_left: "TimeLeft"
) -> "AsyncGenerator[Arrays]":
    """The parts of an answer; `steps` are preprocess, predict and postprocess, as far as the handler has them.

    `time_left` is the longest time for the next part. Raises DeadlineExceeded, and whatever the model raises.
    """
    CURRENT.set(context)  # of this task
    at = next(index for index, (step, _) in enumerate(steps) if is_source(step))
    before, (source, _), after = steps[:at], steps[at], steps[at + 1 :]
    calls = Calls(execution, context, time_left)
    arrays = await _through(before, arrays, calls)
    stream = _awaited(source(arrays), calls) if inspect.isasyncgenfunction(source) else _threaded(source, arrays, calls)
    try:
        async for part in stream:
            yield await _through(after, part, calls)
    finally:
        await stream.aclose()


class Calls:
    """The calls of the model's code for one answer. The context has the first one's start, and the times of all together."""

    def __init__(self, execution: Execution, context: "Context", time_left: "TimeLeft") -> None:
        self.execution = execution
        self._context = context
        self._time_left = time_left
        self._began_at = self._queue_s = self._compute_s = 0.0

    async def in_thread(self, call: "Call", arrays: "Arrays") -> "Arrays":
        """Call it in a thread. Raises DeadlineExceeded."""
        self._begin()
        try:
            return await self.execution.run_in_thread(arrays, 0, self._time_left(), self._context, call)
        finally:
            self._end()

    async def awaited(self, part: "Awaitable[Arrays]") -> "Arrays":
        """Wait for it. Raises DeadlineExceeded."""
        self._begin()
        self._context.compute_at = perf_counter()
        try:
            async with asyncio.timeout(self._time_left()):
                return await part
        except TimeoutError:
            raise too_late() from None
        finally:
            self._context.compute_s = perf_counter() - self._context.compute_at
            self._end()

    def _begin(self) -> None:
        self._context.compute_at = self._context.compute_s = self._context.queue_s = 0.0

    def _end(self) -> None:
        """Put the times of the call, which the context has, to those of the others."""
        context = self._context
        self._began_at = self._began_at or context.compute_at
        self._queue_s += context.queue_s
        self._compute_s += context.compute_s
        context.compute_at, context.queue_s, context.compute_s = self._began_at, self._queue_s, self._compute_s


def is_source(step: "Callable[..., Any]") -> bool:
    """Whether a step gives parts."""
    return inspect.isgeneratorfunction(step) or inspect.isasyncgenfunction(step)


async def _through(steps: "list[Step]", arrays: "Arrays", calls: Calls) -> "Arrays":
    for step, is_async in steps:
        arrays = await (calls.awaited(step(arrays)) if is_async else calls.in_thread(step, arrays))
    return arrays


async def _awaited(stream: "AsyncGenerator[Arrays]", calls: Calls) -> "AsyncGenerator[Arrays]":
    """What an async generator yields, each within its time."""
    try:
        while True:
            yield await calls.awaited(anext(stream))
    except StopAsyncIteration:
        return
    finally:
        await stream.aclose()


async def _threaded(
    source: "Callable[[Arrays], Generator[Arrays]]", arrays: "Arrays", calls: Calls
) -> "AsyncGenerator[Arrays]":
    """What a generator yields; its code runs in threads only."""
    lock = threading.Lock()
    stream = source(arrays)

    def step(_: "Arrays") -> "Arrays":
        with lock:
            return next(stream, END)

    def close() -> None:
        with lock:  # its thread may still be within a part
            stream.close()

    try:
        while (part := await calls.in_thread(step, arrays)) is not END:
            yield part
    except BaseException:
        calls.execution.do_later(close)
        raise
