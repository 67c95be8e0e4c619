"""Header blocks to heads, each of which is worked out once. Sans-IO.

A client repeats its heads, but for what tells one request from the others (`PER_REQUEST`). The same bytes are looked up as
long as the dynamic table stays as it is; else the fields, which mean the same on every connection.
"""

from kfunc.config.inference import Limits
from kfunc.http.h2.fields import Field, FieldDecoder
from kfunc.http.h2.heads import RequestHead, check_fields, read_head
from kfunc.http.head_lines import PER_REQUEST
from kfunc.http.wire import Headers

KnownHeads = dict[tuple[Field, ...], RequestHead]
"""Heads by their fields, but for those of one request; the connections of a server share them."""

MAX_KNOWN_HEADS = 512
MAX_KNOWN_BLOCKS = 64
MAX_KEPT_BYTES = 4096


class HeadReader:
    """Reads the header blocks of one connection, each of them in order."""

    __slots__ = ("_blocks", "_decoder", "_known", "_limits")

    def __init__(self, limits: Limits, known: KnownHeads) -> None:
        self._limits = limits
        self._known = known
        self._blocks: dict[bytes, RequestHead] = {}
        self._decoder = FieldDecoder(limits.max_header_bytes)

    def decode(self, block: bytes) -> tuple[Headers, int]:
        """The fields of a block, as `FieldDecoder.decode`."""
        version = self._decoder.version
        decoded = self._decoder.decode(block)
        if self._decoder.version != version:
            self._blocks.clear()
        return decoded

    def read(self, block: bytes) -> RequestHead:
        """The head of a request. Raises StreamFault for a malformed one."""
        head = self._blocks.get(block)
        if head is not None:
            return head
        version = self._decoder.version
        fields, size = self.decode(block)
        if size > self._limits.max_header_bytes:
            return read_head(fields, False, self._limits)
        head = self._head(fields, size)
        if self._decoder.version == version and size <= MAX_KEPT_BYTES:
            if len(self._blocks) >= MAX_KNOWN_BLOCKS:
                self._blocks.clear()
            self._blocks[block] = head
        return head

    def _head(self, fields: Headers, size: int) -> RequestHead:
        stable = tuple([field for field in fields if field[0] not in PER_REQUEST])
        own = [field for field in fields if field[0] in PER_REQUEST] if len(stable) != len(fields) else []
        head = self._known.get(stable)
        if head is None:
            if size > MAX_KEPT_BYTES:
                return read_head(fields, True, self._limits)
            head = read_head([*stable], True, self._limits)
            head.memo = {}
            if len(self._known) >= MAX_KNOWN_HEADS:
                self._known.clear()
            self._known[stable] = head
        if not own:
            return head
        if len(head.header_list) + len(own) > self._limits.max_headers or len(dict(own)) != len(own):
            return read_head(fields, True, self._limits)
        check_fields(own)
        return head.with_fields(own)
