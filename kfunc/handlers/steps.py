"""A handler's methods as one call: preprocess, predict and postprocess, without those that do nothing."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from kfunc.handlers.contract import Handler
from kfunc.handlers.isolation import IsolatedHandler

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Step = tuple[Callable[..., Any], bool]
    """A method of a handler, and whether what it gives is to be awaited."""
    Run = Callable[[Coroutine[Any, Any, Arrays]], Arrays]
    """Waits for async code; all of a model's runs on one loop, to which its clients belong."""

PREDICT = ("preprocess", "predict", "postprocess")
STREAM = ("preprocess", "predict_stream", "postprocess")
EXPLAIN = ("preprocess", "explain")


def is_own(handler: Handler, name: str) -> bool:
    """Whether the handler has a method of its own, not only the contract's."""
    return getattr(getattr(handler, name), "__func__", None) is not vars(Handler)[name]


def explains(handler: Handler) -> bool:
    """Whether the model has explanations."""
    return handler.explains if isinstance(handler, IsolatedHandler) else is_own(handler, "explain")


def steps_of(handler: Handler, names: tuple[str, ...]) -> "list[Step]":
    """The methods that do something, in order; the last one but postprocess always stands there."""
    own = [getattr(handler, name) for name in names if name not in ("preprocess", "postprocess") or is_own(handler, name)]
    return [(step, _is_async(step)) for step in own]


def _is_async(step: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(step) or inspect.iscoroutinefunction(getattr(step, "__call__", None))  # noqa: B004


def pipeline(handler: Handler, run: "Run | None" = None) -> "Callable[[Arrays], Arrays]":
    """preprocess → predict → postprocess in one sync call, without the steps that do nothing."""
    return _joined(steps_of(handler, PREDICT), run)


def explainer(handler: Handler, run: "Run | None" = None) -> "Callable[[Arrays], Arrays]":
    """preprocess → explain in one sync call."""
    return _joined(steps_of(handler, EXPLAIN), run)


def _joined(steps: "list[Step]", run: "Run | None") -> "Callable[[Arrays], Arrays]":
    if any(awaited for _, awaited in steps):
        wait = run or asyncio.Runner().run
        return lambda inputs: wait(chain(steps, inputs))
    calls = [step for step, _ in steps]
    if len(calls) == 1:
        only: Callable[[Arrays], Arrays] = calls[0]
        return only

    def call(arrays: "Arrays") -> "Arrays":
        for step in calls:
            arrays = step(arrays)
        return arrays

    return call


async def chain(steps: "list[Step]", arrays: "Arrays") -> "Arrays":
    """One step after the other."""
    for step, awaited in steps:
        arrays = await step(arrays) if awaited else step(arrays)
    return arrays
