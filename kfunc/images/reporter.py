"""What a build tells the user while it works. Pure."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Reporter(Protocol):
    """Lines for a reader, and bars for what takes long."""

    def say(self, text: str) -> None:
        """One line."""

    def bar(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A bar over `total` bytes; the value takes how many there are by now."""


def megabytes(size: int) -> str:
    """A number of bytes for a reader."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
