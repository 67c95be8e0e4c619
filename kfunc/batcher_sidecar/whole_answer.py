"""Calls of the upstream that want their answer in one piece."""

from abc import ABC, abstractmethod

from kfunc.http.upstream import ResponseHead


class WholeAnswer(ABC):
    """A Call that wants its answer in one piece, however large."""

    idempotent = False
    bodiless = False

    def __init__(self) -> None:
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """A large answer begins."""
        self._head = head

    def on_chunk(self, chunk: bytes) -> None:
        """Part of it."""
        self._parts.append(chunk)

    def on_end(self) -> None:
        """All of it."""
        if self._head is not None:
            self.on_response(self._head, b"".join(self._parts))

    def on_pressure(self, paused: bool) -> None:  # noqa: B027 (nothing to be done is what most do)
        """What is sent is in memory already."""

    @abstractmethod
    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """The answer."""
