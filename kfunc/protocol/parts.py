"""An answer in parts, for programs: each part is an answer of V2, and says how long it and its JSON are. Sans-IO.

`infer_stream` answers so whom this type is acceptable to; others get JSON lines or server-sent events.
"""

from kfunc.errors import BadGateway

CONTENT_TYPE = b"application/vnd.kfunc.parts"
HEAD_BYTES = 8
MAX_PART = 2**30  # bytes

Part = tuple[bytes, int]
"""An answer, and the length of its JSON."""


def encode(body: bytes, json_length: int) -> bytes:
    """A part; `json_length` 0: it is all JSON."""
    return len(body).to_bytes(4, "big") + (json_length or len(body)).to_bytes(4, "big") + body


class PartReader:
    """Splits a stream into parts, wherever its bytes are cut."""

    __slots__ = ("_data", "_wanted")

    def __init__(self) -> None:
        self._data = bytearray()
        self._wanted = HEAD_BYTES

    @property
    def between(self) -> bool:
        """Whether no part has begun."""
        return not self._data

    def feed(self, chunk: bytes) -> list[Part]:
        """Take bytes; the parts that are whole now. Raises BadGateway."""
        self._data += chunk
        parts = []
        while len(self._data) >= self._wanted:
            size = int.from_bytes(self._data[:4], "big")
            json_length = int.from_bytes(self._data[4:HEAD_BYTES], "big")
            if size > MAX_PART or json_length > size:
                raise BadGateway("the upstream's stream is not one of parts")
            end = HEAD_BYTES + size
            if len(self._data) < end:
                self._wanted = end
                break
            parts.append((bytes(self._data[HEAD_BYTES:end]), json_length))
            del self._data[:end]
            self._wanted = HEAD_BYTES
        return parts
