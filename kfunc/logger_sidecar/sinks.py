"""Where events go: the contract of a sink, and which one an address means."""

from typing import Protocol

from kfunc.config.locations import file_path
from kfunc.config.logger import Logger
from kfunc.errors import StartupError


class Sink(Protocol):
    """Takes structured events."""

    batch_size: int
    """Events that are handed over at once."""

    refused: int
    """Events so far that can never be delivered."""

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """Deliver; returns the events that are to be tried again, in order: the next call must begin with them.

        What can never be delivered is not returned, but counted as refused.
        """

    def close(self) -> None:
        """Let go of files and connections."""


def open_sink(target: str, settings: Logger) -> Sink:
    """The sink for `file:PATH` or an http(s) URL; each is imported when it is used. Raises StartupError."""
    if target.startswith("file:"):
        from kfunc.logger_sidecar.file_sink import FileSink

        path = file_path(target)
        if path is None or "\0" in path:
            raise StartupError(f"the sink {target!r} names no file of this machine; use file:PATH")
        return FileSink(path)
    if target.startswith(("http://", "https://")):
        from kfunc.logger_sidecar.http_sink import HttpSink

        return HttpSink(target, settings)
    raise StartupError(f"the sink {target!r} is not http://…, https://… or file:PATH")
