"""The calls of a model that wait or run, and what is done after the last one. On the event loop."""

import asyncio
from collections.abc import Callable

from kfunc.errors import Unavailable


class InFlight:
    """Counts calls, at most `limit`."""

    __slots__ = ("_count", "_last", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._last: Callable[[], None] | None = None

    def __enter__(self) -> None:
        """One more call. Raises Unavailable past the limit."""
        if self._count >= self._limit:
            raise Unavailable("too many requests wait for the model (limits.max_concurrency); try again later")
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        self._finish()

    def end(self, last: Callable[[], None]) -> None:
        """Nobody is asked any more: do `last` when no call is left.

        What was asked for already may count only in the first step of its task. That step is in the loop's queue, so
        that behind it is early enough. (To count it when it is asked for would count for ever what is cancelled before
        that step.)
        """
        asyncio.get_running_loop().call_soon(self._end, last)

    def _end(self, last: Callable[[], None]) -> None:
        self._last = last
        self._finish()

    def _finish(self) -> None:
        if self._last is not None and not self._count:
            last, self._last = self._last, None
            last()
