"""What is kept of a call that passes: of a body as much as the settings say, its size, and a digest where that is not all."""

from hashlib import sha256
from typing import Any

from kfunc.http.exchange import Exchange
from kfunc.logger_sidecar.record import NO_GRPC, Payload

MIN_PART = 64  # bytes, on average; smaller ones are joined, since each costs some 40 bytes
MANY_PARTS = 64


class Capture:
    """A body that passes in parts. Past `most` bytes only the digest goes on."""

    __slots__ = ("_digest", "_many", "_most", "_parts", "_room", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = most
        self._parts: list[bytes] = []
        self._many = MANY_PARTS
        self._digest: Any = None
        self.size = 0

    def add(self, part: bytes) -> None:
        """The next part."""
        self.size += len(part)
        if self._digest is None and self.size > self._most and self._most:
            self._digest = sha256(b"".join(self._parts))
        if self._digest is not None:
            self._digest.update(part)
        if self._room > 0:
            self._parts.append(part[: self._room])
            self._room -= len(part)
            if len(self._parts) > self._many:
                self._join_small()

    def _join_small(self) -> None:
        self._many = MANY_PARTS + self.size // MIN_PART
        if len(self._parts) > self._many:
            self._parts = [b"".join(self._parts)]

    def payload(self) -> Payload:
        """What is kept."""
        digest = b"sha256:" + self._digest.hexdigest().encode() if self._digest is not None else b""
        return Payload(b"".join(self._parts), self.size, digest=digest)


def captured(body: bytes, most: int) -> Payload:
    """What is kept of a whole body."""
    size = len(body)
    if size <= most:
        return Payload(body, size)
    return Payload(body[:most], size, digest=b"sha256:" + sha256(body).hexdigest().encode() if most else b"")


def grpc_status(exchange: Exchange, status: int) -> int:
    """The code that the call's caller gets in the place of a status."""
    if exchange.grpc_status != NO_GRPC:
        return exchange.grpc_status
    from kfunc.protocol.grpc.status import OK, code_of  # it is loaded: this is in the place of a gRPC call

    return OK if status == 200 else code_of(status)
