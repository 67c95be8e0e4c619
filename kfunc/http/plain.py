"""Plain heads read without the parser, line by line, from lines that were here before. Sans-IO.

Clients on kept connections repeat their heads, or change a line or two of them: to look lines up costs a fifth
of parsing them. What is not plain is not judged here: `read` gives None, and the parser decides.
"""

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kfunc.http.wire import END_OF_HEAD, HOP_BY_HOP, Headers

# Stricter than the parser (RFC 9110, 5.5 and 5.6.2): no folding, no empty name, no control characters, no space at the end.
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)")
REQUEST_LINE = re.compile(rb"(GET|POST|PUT|DELETE|OPTIONS|PATCH) (/[!-~]*) HTTP/1\.1")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t -~\x80-\xff]*")
LENGTH = re.compile(rb"[0-9]{1,15}")

# A message with one of these may be framed or kept in another way than Content-Length and HTTP/1.1 say.
UNUSUAL = frozenset((b"expect", b"transfer-encoding", b"upgrade", b"te", b"trailer"))

MAX_HEAD = 4096
MAX_LINE = 512
MAX_KNOWN_LINES = 4096
MAX_KNOWN_HEADS = 512

Line = tuple[tuple[bytes, bytes], bytes]
"""A field, its name in lower case, and the line that is passed on: empty for what belongs to one connection."""


class PlainHead:
    """A head and what was worked out from it: `length` is its Content-Length, 0 without one.

    `forwarded` are the end-to-end fields as lines, without framing. `memo` is there for a head that is kept, and
    shared by all messages that begin with it.
    """

    __slots__ = ("_lines", "headers", "length", "memo", "pairs", "start")

    def __init__(self, start: Any, lines: list[Line], pairs: Headers, headers: dict[bytes, bytes]) -> None:
        self.start = start
        self.pairs = pairs
        self.headers = headers
        self.length = int(headers.get(b"content-length", b"0"))
        self.memo: dict[str, Any] | None = None
        self._lines = lines

    @property
    def forwarded(self) -> bytes:
        return b"".join([line[1] for line in self._lines])


Kept = TypeVar("Kept")


class PlainHeads(Generic[Kept]):
    """Reads heads. `known` are those whose lines had all been here before, by their bytes, as `make` made them."""

    __slots__ = ("_lines", "_make", "_max_bytes", "_max_fields", "_private", "_read_start", "_required", "_starts", "known")

    def __init__(
        self,
        read_start: Callable[[bytes], Any],
        make: Callable[[PlainHead], Kept],
        required: bytes,
        max_fields: int = 100,
        max_bytes: int = MAX_HEAD,
        private: frozenset[bytes] = HOP_BY_HOP,
    ) -> None:
        self.known: dict[bytes, Kept] = {}
        self._make = make
        self._read_start = read_start
        self._required = required
        self._max_fields = max_fields
        self._max_bytes = min(max_bytes, MAX_HEAD)
        self._private = private  # fields that are not passed on
        self._starts: dict[bytes, Any] = {}
        self._lines: dict[bytes, Line] = {}

    def read(self, head: bytes) -> Kept | None:
        """A head with its last blank line; None if it is not plain."""
        if len(head) > self._max_bytes:
            return None
        texts = head.split(b"\r\n")
        start = self._starts.get(texts[0])
        lines: list[Line | None] = list(map(self._lines.get, texts[1:-2]))
        new = start is None or None in lines
        if new:
            start = start or self._learn_start(texts[0])
            for index, line in enumerate(lines):
                if line is None:
                    lines[index] = line = self._learn_line(texts[index + 1])
                    if line is None:
                        return None
        pairs = [line[0] for line in lines]  # type: ignore[index]
        headers = dict(pairs)
        if start is None or self._required not in headers or not len(headers) == len(pairs) <= self._max_fields:
            return None  # repeated fields are joined, or refused, by those who parse
        plain = PlainHead(start, lines, pairs, headers)  # type: ignore[arg-type]
        if new:
            return self._make(plain)
        plain.memo = {}
        kept = self._make(plain)
        if len(self.known) >= MAX_KNOWN_HEADS:
            self.known.clear()
        self.known[head] = kept
        return kept

    def _learn_start(self, text: bytes) -> Any:
        start = self._read_start(text)
        if start is not None and len(text) <= MAX_LINE:
            if len(self._starts) >= MAX_KNOWN_HEADS:
                self._starts.clear()
            self._starts[text] = start
        return start

    def _learn_line(self, text: bytes) -> Line | None:
        line = read_line(text, self._private)
        if line is not None and len(text) <= MAX_LINE:
            if len(self._lines) >= MAX_KNOWN_LINES:
                self._lines.clear()
            self._lines[text] = line
        return line


def read_line(text: bytes, private: frozenset[bytes]) -> Line | None:
    """A line of a head; None if it is wrong, or if its message needs the parser."""
    match = FIELD.fullmatch(text)
    if match is None:
        return None
    name, value = match[1].lower(), match[2]
    if name in UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
        return None
    if name == b"content-length":
        return ((name, value), b"") if LENGTH.fullmatch(value) else None
    return (name, value), b"" if name in private else text + b"\r\n"


def read_request_line(text: bytes) -> tuple[bytes, bytes] | None:
    """Method and target; None for what the parser must see."""
    match = REQUEST_LINE.fullmatch(text)
    return None if match is None else (match[1], match[2])


def read_status_line(text: bytes) -> int | None:
    """The status of an answer that has a body, if only an empty one."""
    match = STATUS_LINE.fullmatch(text)
    return None if match is None or match[1] in (b"204", b"304") else int(match[1])


def request_heads(max_fields: int, max_bytes: int) -> PlainHeads[PlainHead]:
    """Heads of requests; `start` is method and target."""
    return PlainHeads(read_request_line, lambda head: head, b"host", max_fields, max_bytes)


def end_of_head(data: bytes) -> int:
    """Where the body begins; 3 if the head is not whole."""
    return data.find(END_OF_HEAD) + 4
