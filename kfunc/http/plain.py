"""Plain heads read without the parser, line by line, from lines that were here before. Sans-IO.

Clients on kept connections repeat their heads, or change a line or two of them: to look lines up costs a fifth
of parsing them. What is not plain is not judged here: `read` gives None, and the parser decides.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kfunc.config.inference import Limits
from kfunc.http.head_lines import IDENTIFIER, PER_REQUEST, Line, read_line, read_request_line
from kfunc.http.wire import HOP_BY_HOP, Headers

MAX_HEAD = 4096
MAX_LINE = 512
MAX_VALUES = 64  # of one field: an older line makes room for a new one
MAX_KNOWN_FIELDS = 256
MAX_KNOWN_HEADS = 512


class PlainHead:
    """A head and what was worked out from it: `length` is its Content-Length, 0 without one.

    `memo` is there for a head that is kept, or whose `shape` is, and shared by all messages that begin so.
    """

    __slots__ = ("_forwarded", "headers", "length", "lines", "memo", "pairs", "shape", "start")

    def __init__(self, start: Any, lines: list[bytes], pairs: Headers, headers: dict[bytes, bytes]) -> None:
        self.start = start
        self.lines = lines  # that are passed on, for each of the pairs: empty for what belongs to one connection
        self.pairs = pairs
        self.headers = headers
        self.length = int(headers.get(b"content-length", b"0"))
        self.memo: dict[str, Any] | None = None
        self.shape: Shape | None = None
        self._forwarded: bytes | None = None

    @property
    def forwarded(self) -> bytes:
        """The end-to-end fields as lines, without framing."""
        if self._forwarded is None:
            self._forwarded = b"".join(self.lines)
        return self._forwarded


class Shape:
    """A head with gaps where its identifiers stand. To fill them again takes a third of the time of reading lines."""

    __slots__ = ("_first", "_gaps", "_head", "_max_bytes")

    def __init__(self, head: PlainHead, texts: list[bytes], identifiers: list[int], max_bytes: int) -> None:
        """`texts` are the lines of the head, the start first; `identifiers` says which of its fields are gaps."""
        self._head = head
        self._max_bytes = max_bytes
        literals = [texts[0]]
        labels = []  # what stands in the line before a gap
        for index, text in enumerate(texts[1:]):
            literals[-1] += b"\r\n"
            if index in identifiers:
                labels.append(len(text) - len(head.pairs[index][1]))
                literals[-1] += text[: labels[-1]]
                literals.append(b"")
            else:
                literals[-1] += text
        self._first = literals[0]
        self._gaps = list(zip(identifiers, labels, literals[1:], strict=True))

    def read(self, head: bytes) -> PlainHead | None:
        """The same head with other identifiers; None if it is another one."""
        if not head.startswith(self._first) or len(head) > self._max_bytes:
            return None
        known, begin = self._head, len(self._first)
        pairs, lines, headers = known.pairs.copy(), known.lines.copy(), known.headers.copy()
        for index, label, literal in self._gaps:
            end = head.find(b"\r", begin)
            value = head[begin:end]
            if not head.startswith(literal, end) or IDENTIFIER.fullmatch(value) is None:
                return None
            name = pairs[index][0]
            lines[index] = head[begin - label : end + 2]
            pairs[index] = name, value
            headers[name] = value
            begin = end + len(literal)
        if begin != len(head):
            return None
        plain = PlainHead(known.start, lines, pairs, headers)
        plain.memo, plain.shape = known.memo, self
        return plain


Kept = TypeVar("Kept")


class PlainHeads(Generic[Kept]):
    """Reads heads. `known` are those whose lines had all been here before, by their bytes, as `make` made them."""

    __slots__ = ("_fields", "_lines", "_make", "_max_bytes", "_max_fields", "_max_length", "_private", "_read_start") + (
        "_required",
        "_shapes",
        "_starts",
        "known",
    )

    def __init__(
        self,
        read_start: Callable[[bytes], Any],
        make: Callable[[PlainHead], Kept],
        required: bytes,
        max_fields: int = 100,
        max_bytes: int = MAX_HEAD,
        max_length: int = 2**62,
        private: frozenset[bytes] = HOP_BY_HOP,
    ) -> None:
        self.known: dict[bytes, Kept] = {}
        self._make = make
        self._read_start = read_start
        self._required = required
        self._max_fields = max_fields
        self._max_bytes = min(max_bytes, MAX_HEAD)
        self._max_length = max_length  # of bodies
        self._private = private  # fields that are not passed on
        self._starts: dict[bytes, Any] = {}
        self._lines: dict[bytes, Line] = {}
        self._fields: dict[bytes, deque[bytes]] = {}  # the lines that are known, by name, from old to new
        self._shapes: dict[bytes, Shape] = {}

    def read(self, head: bytes) -> Kept | None:
        """A head with its last blank line; None if it is not plain."""
        if len(head) > self._max_bytes:
            return None
        texts = head.split(b"\r\n")
        lines: list[Any] = list(map(self._lines.get, texts[1:-2]))
        if None in lines:
            plain = self._read_new(head, texts, lines)
            return None if plain is None else self._make(plain)
        plain = self._plain(texts[0], lines)
        if plain is None:
            return None
        plain.memo = {}
        return _keep(self.known, head, self._make(plain))

    def _read_new(self, head: bytes, texts: list[bytes], lines: list[Line | None]) -> PlainHead | None:
        """Some lines are new. If only identifiers are, the head may have come before with others."""
        identifiers, others = [], False
        for index, line in enumerate(lines):
            if line is None:
                text = texts[index + 1]
                lines[index] = line = self._lines.get(text) or self._learn_line(text)  # it may stand there twice
                if line is None:
                    return None
                if line[0][0] in PER_REQUEST and line[1]:
                    identifiers.append(index)
                else:
                    others = True
        plain = self._plain(texts[0], lines)  # type: ignore[arg-type]
        return plain if plain is None or others else self._shaped(head, plain, texts, identifiers)

    def _shaped(self, head: bytes, plain: PlainHead, texts: list[bytes], identifiers: list[int]) -> PlainHead:
        """The head as one of its shape, which is remembered by the bytes before the first identifier."""
        first = texts[identifiers[0] + 1]
        key = head[: head.index(first) + len(first) - len(plain.pairs[identifiers[0]][1])]
        shape = self._shapes.get(key)
        same = None if shape is None else shape.read(head)
        if same is None:
            plain.memo = {}
            plain.shape = _keep(self._shapes, key, Shape(plain, texts, identifiers, self._max_bytes))
        return same or plain

    def _plain(self, start_text: bytes, lines: list[Line]) -> PlainHead | None:
        start = self._starts.get(start_text)
        if start is None:
            start = self._read_start(start_text)
            if start is not None and len(start_text) <= MAX_LINE:
                _keep(self._starts, start_text, start)
        pairs = [line[0] for line in lines]
        headers = dict(pairs)
        if start is None or self._required not in headers or not len(headers) == len(pairs) <= self._max_fields:
            return None  # repeated fields are joined, or refused, by those who parse
        plain = PlainHead(start, [line[1] for line in lines], pairs, headers)
        return plain if plain.length <= self._max_length else None

    def _learn_line(self, text: bytes) -> Line | None:
        line = read_line(text, self._private)
        if line is None or len(text) > MAX_LINE:
            return line
        name = line[0][0]
        texts = self._fields.get(name)
        if texts is None:
            if len(self._fields) >= MAX_KNOWN_FIELDS:
                self._fields.clear()
                self._lines.clear()
            texts = self._fields[name] = deque()
        elif len(texts) >= MAX_VALUES:
            if name in PER_REQUEST:
                return line  # it will not come again
            del self._lines[texts.popleft()]
        texts.append(text)
        self._lines[text] = line
        return line


Key = TypeVar("Key")
Value = TypeVar("Value")


def _keep(known: dict[Key, Value], key: Key, value: Value) -> Value:
    """Remember it, in place of all others where there are too many."""
    if len(known) >= MAX_KNOWN_HEADS:
        known.clear()
    known[key] = value
    return value


def request_heads(limits: Limits) -> PlainHeads[PlainHead]:
    """Heads of requests within the limits; `start` is method and target."""
    sizes = (limits.max_headers, limits.max_header_bytes, limits.max_body_bytes)
    return PlainHeads(read_request_line, lambda head: head, b"host", *sizes)
