"""Answers that wait for something: each is a task, and what it raises is its caller's answer."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from kfunc.errors import KfuncError
from kfunc.http.exchange import Exchange


class AnswerTasks:
    """Keeps the tasks until they have ended, and tells `log` what no caller should see."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, exchange: Exchange, work: Coroutine[Any, Any, None], *, to_the_end: bool = False) -> None:
        """Do the work as long as the client waits, or `to_the_end`."""
        task = asyncio.get_running_loop().create_task(self._answered(exchange, work))
        if not to_the_end:
            exchange.on_cancel = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answered(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except KfuncError as error:
            exchange.fail(error)
        except Exception:
            self._log.exception("a request failed", extra={"exchange": exchange})
            exchange.fail(KfuncError("internal error; the log of the server says more"))
