"""Header blocks: HPACK (RFC 7541) with the tables and the Huffman code of the library `hpack`. Sans-IO.

Decoding is our own loop: the library needs 29 µs for a head, and its copies of the rest of a block grow with its square.
Encoding never uses the dynamic table, so that an encoded field is the same on every connection and can be kept.
"""

from collections import deque

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.table import HeaderTable

from kfunc.http.h2.faults import COMPRESSION_ERROR, ConnectionFault
from kfunc.http.wire import Headers

Field = tuple[bytes, bytes]

STATIC: tuple[Field, ...] = HeaderTable.STATIC_TABLE
FIRST_DYNAMIC = len(STATIC) + 1
TABLE_BYTES = 4096  # our SETTINGS_HEADER_TABLE_SIZE, the default
ENTRY_BYTES = 32  # what a field counts beside its name and value (RFC 7541, 4.1)
MAX_INTEGER_SHIFT = 28
LONG_STRING = 0x7F  # bytes: its length does not fit into one
MAX_KEPT_STRING = 128
MAX_KEPT = 4096

Step = tuple[int, bytes, int]
"""Of the Huffman decoder: the next state, what it gives, and whether a string may end here."""

_steps: dict[int, Step] = {}  # by state and byte
_strings: dict[bytes, bytes] = {}  # what Huffman-coded strings mean
_encoded: dict[bytes, bytes] = {}  # lines of HTTP/1.1 -> fields
_static_fields = {field: index for index, field in reversed(list(enumerate(STATIC, 1)))}
_static_names = {field[0]: index for index, field in reversed(list(enumerate(STATIC, 1)))}


def broken(what: str) -> ConnectionFault:
    """A block that cannot be decoded: from here on the two tables differ."""
    return ConnectionFault(COMPRESSION_ERROR, f"the header block is broken: {what}")


class FieldDecoder:
    """Decodes the header blocks of one connection, each of them in order. `version` changes with the dynamic table."""

    __slots__ = ("_dynamic", "_max_list", "_max_size", "_size", "version")

    def __init__(self, max_list: int) -> None:
        self._max_list = max_list
        self._dynamic: deque[Field] = deque()
        self._size = 0
        self._max_size = TABLE_BYTES
        self.version = 0

    def decode(self, block: bytes) -> tuple[Headers, int]:
        """The fields of a block, and their size (RFC 7541, 4.1): past `max_list` bytes the rest is only read for the table.

        Raises ConnectionFault (COMPRESSION_ERROR) for a block that RFC 7541 does not allow.
        """
        fields: Headers = []
        at, end, size = 0, len(block), 0
        try:
            while at < end:
                first = block[at]
                if first >= 0x80:
                    index = first & 0x7F
                    at += 1
                    if 0 < index < FIRST_DYNAMIC:
                        field = STATIC[index - 1]
                    else:
                        if index == 0x7F:
                            index, at = read_integer(block, at, index)
                        field = self._entry(index)
                elif first >= 0x40:
                    field, at = self._literal(block, at, first & 0x3F, 0x3F)
                    self._add(field)
                elif first >= 0x20:
                    if size:
                        raise broken("a change of the table's size is not at its start")
                    at = self._resize(block, at, first & 0x1F)
                    continue
                else:
                    field, at = self._literal(block, at, first & 0x0F, 0x0F)
                size += len(field[0]) + len(field[1]) + ENTRY_BYTES
                if size <= self._max_list:
                    fields.append(field)
        except IndexError:
            raise broken("it ends within a field") from None
        return fields, size

    def _entry(self, index: int) -> Field:
        if 0 < index < FIRST_DYNAMIC:
            return STATIC[index - 1]
        if not 0 <= index - FIRST_DYNAMIC < len(self._dynamic):
            raise broken(f"no field has the index {index}")
        return self._dynamic[index - FIRST_DYNAMIC]

    def _literal(self, block: bytes, at: int, index: int, mask: int) -> tuple[Field, int]:
        at += 1
        if index == 0:
            name, at = read_string(block, at)
        else:
            if index == mask:
                index, at = read_integer(block, at, mask)
            name = self._entry(index)[0]
        value, at = read_string(block, at)
        return (name, value), at

    def _resize(self, block: bytes, at: int, size: int) -> int:
        at += 1
        if size == 0x1F:
            size, at = read_integer(block, at, size)
        if size > TABLE_BYTES:
            raise broken(f"its table is larger than {TABLE_BYTES} bytes")
        self._max_size = size
        self.version += 1
        self._evict()
        return at

    def _add(self, field: Field) -> None:
        self.version += 1
        self._size += len(field[0]) + len(field[1]) + ENTRY_BYTES
        self._dynamic.appendleft(field)
        if self._size > self._max_size:
            self._evict()

    def _evict(self) -> None:
        while self._size > self._max_size:
            name, value = self._dynamic.pop()
            self._size -= len(name) + len(value) + ENTRY_BYTES


def read_integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """An integer that did not fit into its prefix, and where it ends (RFC 7541, 5.1)."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        prefix += (byte & 0x7F) << shift
        if byte < 0x80:
            return prefix, at
        shift += 7
        if shift > MAX_INTEGER_SHIFT:
            raise broken("a number is longer than it needs to be")


def read_string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string, and where it ends (RFC 7541, 5.2)."""
    first = block[at]
    at += 1
    size = first & 0x7F
    if size == LONG_STRING:
        size, at = read_integer(block, at, size)
    stop = at + size
    text = block[at:stop]
    if len(text) != size:
        raise broken("it ends within a string")
    if first < 0x80:
        return text, stop
    known = _strings.get(text)
    if known is None:
        known = read_huffman(text)
        if size <= MAX_KEPT_STRING:
            if len(_strings) >= MAX_KEPT:
                _strings.clear()
            _strings[text] = known
    return known, stop


def read_huffman(text: bytes) -> bytes:
    """A string in Huffman code (RFC 7541, 5.2 and Appendix B)."""
    state, complete = 0, HUFFMAN_COMPLETE
    symbols = []
    for byte in text:
        step = _steps.get(state << 8 | byte) or learn_step(state, byte)
        state, symbol, complete = step
        symbols.append(symbol)
    if not complete:
        raise broken("the Huffman code of a string is cut off")
    return b"".join(symbols)


def learn_step(state: int, byte: int) -> Step:
    """The library's table goes by half bytes; the steps that text needs are few, and kept for whole ones."""
    middle, flags, first = HUFFMAN_TABLE[state * 16 + (byte >> 4)]
    symbol = bytes((first,)) if flags & HUFFMAN_EMIT_SYMBOL else b""
    end, more, second = HUFFMAN_TABLE[middle * 16 + (byte & 0xF)]
    if (flags | more) & HUFFMAN_FAIL:
        raise broken("a string is not in Huffman code")
    if more & HUFFMAN_EMIT_SYMBOL:
        symbol += bytes((second,))
    step = end, symbol, more & HUFFMAN_COMPLETE
    if len(_steps) < MAX_KEPT:
        _steps[state << 8 | byte] = step
    return step


def integer(value: int, prefix: int, flags: int = 0) -> bytes:
    """`value` behind a prefix of so many bits (RFC 7541, 5.1)."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes((flags | value,))
    value -= most
    encoded = [flags | most]
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def encode_field(name: bytes, value: bytes) -> bytes:
    """A field that leaves the dynamic table as it is."""
    index = _static_fields.get((name, value))
    if index is not None:
        return integer(index, 7, 0x80)
    return b"%b%b%b" % (encode_name(name), integer(len(value), 7), value)


def encode_name(name: bytes) -> bytes:
    """The beginning of a field whose value follows as a string, and that does not enter the dynamic table."""
    index = _static_names.get(name)
    return integer(index, 4) if index is not None else b"\0%b%b" % (integer(len(name), 7), name)


def encode_fields(fields: Headers) -> bytes:
    """A block of fields; names must be in lower case."""
    return b"".join([encode_field(name, value) for name, value in fields])


def encode_lines(lines: bytes) -> bytes:
    """Fields that are lines of HTTP/1.1."""
    block = _encoded.get(lines)
    if block is None:
        parts = [line.partition(b":") for line in lines.split(b"\r\n") if line]
        block = b"".join([encode_field(name.lower(), value.strip(b" \t")) for name, _, value in parts])
        if len(lines) <= MAX_KEPT_STRING:
            if len(_encoded) >= MAX_KEPT:
                _encoded.clear()
            _encoded[lines] = block
    return block
