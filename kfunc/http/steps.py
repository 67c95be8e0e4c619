"""Running a coroutine without a task while it does not wait."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any


def run(steps: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Take `steps` to its end; at its first wait the rest becomes a task, kept in `tasks`.

    The first part runs outside any task: it must not use `asyncio.current_task` (nor `timeout`).
    Exceptions before the first wait are the caller's; `steps` is to handle its own after it.
    """
    try:
        waited_for = steps.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_resume(steps, waited_for))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


@coroutine
def _resume(steps: Coroutine[Any, Any, None], waited_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that has yielded `waited_for` once already.

    A future that was yielded still carries its own mark of being waited for, so yielding the same
    object again from within the task is what the coroutine itself would have done there.
    """
    step: Callable[[], Any]
    while True:
        try:
            value = yield waited_for
            step = _sender(steps, value)
        except BaseException as error:  # cancellation goes into the coroutine like everything else
            step = _thrower(steps, error)
        try:
            waited_for = step()
        except StopIteration:
            return


def _sender(steps: Coroutine[Any, Any, None], value: Any) -> Callable[[], Any]:
    return lambda: steps.send(value)


def _thrower(steps: Coroutine[Any, Any, None], error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)
