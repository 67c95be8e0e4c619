"""Where an event goes that its sink does not take while it takes all others, and that no dead letters are named for.

A file of JSON lines in the spool, bounded: what finds no room there waits in the log.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kfunc.config.logger import SinkSettings
from kfunc.logger_sidecar.contract import Event, Outcome, Retry, SinkContext

if TYPE_CHECKING:
    from kfunc.logger_sidecar.file_sink import FileSink

SHARE = 1 / 16  # of the spool's bound, beside it, for all sinks together


class SetAside:
    """The file, as a sink. It is not there before an event is."""

    max_events = 1
    max_bytes = 1024 * 1024
    linger_s = 0.0

    def __init__(self, path: str, most_bytes: int, context: SinkContext) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._context = context
        self._file: FileSink | None = None

    async def open(self) -> None:
        """Open the file."""
        from urllib.parse import quote  # here: nearly no process needs them

        from kfunc.logger_sidecar.file_sink import FileSink

        self._file = await asyncio.to_thread(FileSink, SinkSettings(to=f"file:{quote(self.path)}"), self._context)

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Append, as far as there is room. Raises OSError."""
        size = sum(len(event.structured()) + 1 for event in events)
        status = await asyncio.to_thread(os.stat, self.path)
        if self._file is None or status.st_size + size > self._most_bytes:
            return [
                Retry(f"{self.path} holds its {self._most_bytes} bytes: deliver what is in it, and delete it", answered=False)
            ]
        return await self._file.deliver(events, in_order)

    async def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            await self._file.close()
