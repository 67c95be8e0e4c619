"""What `kfunc run` and its processes say: as lines, or, on a terminal, as lines above one that is written anew each second."""

import os
import sys
import time
from contextlib import suppress
from typing import TextIO

import msgspec

from kfunc.telemetry import log_lines

ERASE_LINE = "\r\x1b[K"  # ECMA-48: carriage return, erase in line
READY = "ready: "  # and the URL: how the announcement begins
OBJECT = b'{"time":'  # how a line begins that one of our processes writes as an object


class Console:
    """Plain lines: what is asked for on standard output, all else on standard error."""

    live = False
    json = False  # each line is an object, as with `log_format: json`

    def say(self, message: str) -> None:
        """Tell the user what the supervisor saw or did."""
        with suppress(OSError):  # serving does not depend on somebody reading
            text = self._object("run", message) if self.json else f"kfunc: {message}"
            print(text, file=sys.stderr, flush=True)

    def relay(self, name: str, line: bytes) -> None:
        """Pass on a line that a child has said, with its name."""
        with suppress(OSError):
            if line.startswith(OBJECT):
                said = b'{"component":"%s",%s' % (name.encode(), line[1:])
            elif self.json:
                said = self._object(name, line.decode("utf-8", "replace")).encode()
            else:
                said = b"[%s] %s" % (name.encode(), line)
            sys.stderr.buffer.write(said + b"\n")
            sys.stderr.buffer.flush()

    def announce(self, line: str) -> None:
        """A line that programs read as well."""
        print(self._object("run", line) if self.json else line, flush=True)

    def _object(self, component: str, message: str) -> str:
        return log_lines.line(time.time(), {"component": component, "level": "info", "logger": "kfunc", "message": message})

    def show(self, line: str) -> None:
        """The line below all others, which plain output has not."""

    def close(self) -> None:
        """Nothing is written any more."""


class LiveConsole(Console):
    """On a terminal: the live line goes away for each other line, and comes back below it."""

    live = True

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._line = ""

    def say(self, message: str) -> None:
        self._write(ERASE_LINE)
        super().say(message)
        self._draw()

    def relay(self, name: str, line: bytes) -> None:
        self._write(ERASE_LINE)
        super().relay(name, line)
        self._draw()

    def announce(self, line: str) -> None:
        self._write(ERASE_LINE)
        super().announce(line)
        self._draw()

    def show(self, line: str) -> None:
        self._line = line
        self._write(ERASE_LINE)
        self._draw()

    def close(self) -> None:
        self._write(ERASE_LINE)
        self._line = ""

    def _draw(self) -> None:
        if self._line:
            self._write(in_a_row(self._line, self._terminal))

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._terminal.write(text)
            self._terminal.flush()


class Announcement(msgspec.Struct):
    """A line that is an object."""

    message: str


def announced(line: str) -> str:
    """What `announce` was given, from the line that it wrote."""
    line = line.strip()
    try:
        return msgspec.json.decode(line, type=Announcement).message if line.startswith("{") else line
    except msgspec.DecodeError:
        return line


def in_a_row(text: str, terminal: TextIO) -> str:
    """What of a text is in one row of a terminal: more would wrap, and could not be erased."""
    try:
        width = os.get_terminal_size(terminal.fileno()).columns
    except OSError:
        width = 0
    return text.partition("\n")[0][: (width or 80) - 1]  # one that does not know its width says 0


def console_for(stream: TextIO, *, wanted: bool) -> Console:
    """The live one where `stream` is a terminal that can erase a line, and it is `wanted`."""
    can = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveConsole(stream) if can and wanted else Console()
