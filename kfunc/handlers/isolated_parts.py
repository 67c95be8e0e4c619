"""Answers in parts within a model's worker process: generators, each asked for its next part by the number it got."""

import os
from collections.abc import AsyncGenerator, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from kfunc.errors import Unavailable
from kfunc.handlers.contract import Handler
from kfunc.handlers.parts import is_source
from kfunc.handlers.steps import PREDICT, STREAM, is_own, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.steps import Step

    Number = tuple[int, int]
    """Of the process, and within it."""


class PartsUnderWay:
    """The generators of the answers that are under way; one call at a time. `run` waits for async code."""

    def __init__(self, handler: Handler, run: "Callable[[Coroutine[Any, Any, Any]], Any]") -> None:
        steps = steps_of(handler, STREAM if is_own(handler, "predict_stream") else PREDICT)
        at = next(index for index, (step, _) in enumerate(steps) if is_source(step))
        self._before, (self._source, _), self._after = steps[:at], steps[at], steps[at + 1 :]
        self._run = run
        self._answers: dict[Number, Iterator[Arrays]] = {}
        self._numbers = count(1)

    def open(self, inputs: "Arrays") -> "Number":
        """Begin an answer."""
        number = os.getpid(), next(self._numbers)
        self._answers[number] = self._parts(inputs)
        return number

    def next(self, number: "Number") -> "Arrays | None":
        """The next part; None behind the last one. Raises what the model raises, Unavailable for another process's answer."""
        answer = self._answers.pop(number, None)
        if answer is None:
            raise Unavailable("the model's worker process was started again within this answer; ask again")
        part = next(answer, None)
        if part is not None:
            self._answers[number] = answer
        return part

    def close(self, number: "Number") -> None:
        """Nobody wants the rest."""
        answer: Any = self._answers.pop(number, None)
        if answer is not None:
            answer.close()

    def _parts(self, arrays: "Arrays") -> "Iterator[Arrays]":
        for part in self._given(self._through(self._before, arrays)):
            yield self._through(self._after, part)

    def _through(self, steps: "list[Step]", arrays: "Arrays") -> "Arrays":
        for step, is_async in steps:
            arrays = self._run(step(arrays)) if is_async else step(arrays)
        return arrays

    def _given(self, arrays: "Arrays") -> "Iterator[Arrays]":
        stream = self._source(arrays)
        return self._awaited(stream) if isinstance(stream, AsyncGenerator) else stream

    def _awaited(self, stream: "AsyncGenerator[Arrays, None]") -> "Iterator[Arrays]":
        async def step() -> "Arrays | None":
            return await anext(stream, None)

        async def close() -> None:
            await stream.aclose()

        try:
            while (part := self._run(step())) is not None:
                yield part
        finally:
            self._run(close())
