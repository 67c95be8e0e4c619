"""A handler's `predict` that yields, as a stream of arrays: each part is made when it is asked for."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from kfunc.handlers.contract import Handler
from kfunc.handlers.execution import Execution, too_late

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.steps import Step
    from kfunc.protocol.contract import Context

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
    at = next(index for index, (step, _) in enumerate(steps) if _is_source(step))
    before, (source, _), after = steps[:at], steps[at], steps[at + 1 :]
    arrays = await _through(before, arrays, execution, context, time_left)
    if inspect.isasyncgenfunction(source):
        stream = _awaited(source(arrays), time_left)
    else:
        stream = _threaded(source, arrays, execution, context, time_left)
    try:
        async for part in stream:
            yield await _through(after, part, execution, context, time_left)
    finally:
        await stream.aclose()


def _is_source(step: "Callable[..., Any]") -> bool:
    return inspect.isgeneratorfunction(step) or inspect.isasyncgenfunction(step)


async def _through(
    steps: "list[Step]", arrays: "Arrays", execution: Execution, context: "Context", time_left: "TimeLeft"
) -> "Arrays":
    for step, awaited in steps:
        if awaited:
            arrays = await asyncio.wait_for(step(arrays), time_left())
        else:
            arrays = await execution.run_in_thread(arrays, 0, time_left(), context, step)
    return arrays


async def _awaited(stream: "AsyncGenerator[Arrays]", time_left: "TimeLeft") -> "AsyncGenerator[Arrays]":
    """What an async generator yields, each within its time."""
    try:
        while True:
            async with asyncio.timeout(time_left()):
                part = await anext(stream)
            yield part
    except StopAsyncIteration:
        return
    except TimeoutError:
        raise too_late() from None
    finally:
        await stream.aclose()


async def _threaded(
    source: "Callable[[Arrays], Generator[Arrays]]",
    arrays: "Arrays",
    execution: Execution,
    context: "Context",
    time_left: "TimeLeft",
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
        while (part := await execution.run_in_thread(arrays, 0, time_left(), context, step)) is not END:
            yield part
    except BaseException:
        execution.do_later(close)
        raise
