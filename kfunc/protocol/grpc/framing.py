"""Messages in the body of a call: a byte that says whether it is compressed, its length, and itself (gRPC over HTTP2)."""

from kfunc.errors import InvalidRequest, PayloadTooLarge

HEAD_BYTES = 5
MAX_LENGTH = 2**32 - 1

Message = tuple[bool, bytes]
"""Whether it is compressed, and its bytes."""


def head(length: int, *, compressed: bool = False) -> bytes:
    """What stands before a message of so many bytes."""
    return b"%c%b" % (compressed, length.to_bytes(4, "big"))


def frame(message: bytes, *, compressed: bool = False) -> bytes:
    """A message as it is sent."""
    return head(len(message), compressed=compressed) + message


def too_large(size: int, limit: int) -> PayloadTooLarge:
    """A message that is not read."""
    return PayloadTooLarge(f"the message has {size} bytes, {limit} are allowed (limits.max_body_bytes)")


def only_message(body: bytes) -> bool:
    """Check that a body is one message; whether that is compressed. Raises InvalidRequest."""
    if len(body) < HEAD_BYTES or len(body) != HEAD_BYTES + int.from_bytes(body[1:HEAD_BYTES], "big"):
        raise InvalidRequest("the call's body is not one whole message")
    return _flag(body[0])


def _flag(value: int) -> bool:
    if value > 1:
        raise InvalidRequest("the byte before a message's length must be 0 or 1")
    return value == 1


class Deframer:
    """Splits a stream into messages, wherever its bytes are cut."""

    __slots__ = ("_limit", "_parts", "_size", "_wanted")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted = HEAD_BYTES

    @property
    def between(self) -> bool:
        """Whether no message has begun."""
        return not self._size

    def feed(self, chunk: bytes) -> list[Message]:
        """Take bytes; the messages that are whole now. Raises InvalidRequest, PayloadTooLarge."""
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size < self._wanted:
            return []
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        messages: list[Message] = []
        at, self._wanted = 0, HEAD_BYTES
        while len(data) - at >= HEAD_BYTES:
            length = int.from_bytes(data[at + 1 : at + HEAD_BYTES], "big")
            compressed = _flag(data[at])
            if length > self._limit:
                raise too_large(length, self._limit)
            end = at + HEAD_BYTES + length
            if end > len(data):
                self._wanted = end - at
                break
            messages.append((compressed, data[at + HEAD_BYTES : end]))
            at = end
        self._parts = [data[at:]] if at < len(data) else []
        self._size = len(data) - at
        return messages
