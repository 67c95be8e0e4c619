"""What libraries print while they work, Python's and native code alike: kept aside, shown where it helps."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

MOST = 20_000  # characters, of the end
OWN = "kfunc"
STREAMS = (1, 2)


class Libraries:
    """Keeps standard output and standard error of this process while `kept`; `shown`: they are left as they are."""

    def __init__(self, *, shown: bool = False) -> None:
        self._shown = shown
        self._said = ""
        self._notes: list[str] = []

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Nothing is printed meanwhile; what kfunc's own loggers say become notes."""
        if self._shown:
            yield
            return
        own, collector = logging.getLogger(OWN), Collector(self._notes)
        own.addHandler(collector)
        try:
            with tempfile.TemporaryFile() as file:
                try:
                    with _redirected(file.fileno()):
                        yield
                finally:
                    file.seek(0)
                    self._said += file.read().decode(errors="replace")
        finally:
            own.removeHandler(collector)

    def take_notes(self) -> list[str]:
        """What kfunc's own loggers said since the last time."""
        notes, self._notes[:] = list(self._notes), []
        return notes

    def said(self) -> str:
        """What the libraries said so far, its end, below the notes that nobody took."""
        return "\n".join([*self._notes, self._said[-MOST:].strip()]).strip()


class Collector(logging.Handler):
    """Adds messages to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Of warnings, and what is worse."""
        self._messages.append(record.getMessage())


@contextlib.contextmanager
def _redirected(file: int) -> Iterator[None]:
    """The process's own streams, which native code writes to, and Python's objects as well."""
    _flush()
    before = {each: os.dup(each) for each in STREAMS}
    try:
        for each in STREAMS:
            os.dup2(file, each)
        yield
    finally:
        _flush()
        for each, copy in before.items():
            os.dup2(copy, each)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
