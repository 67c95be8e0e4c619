"""The REST request that is asked in a call's place."""

from typing import Protocol

from kfunc.errors import KfuncError
from kfunc.http.exchange import Exchange, Transmitter
from kfunc.http.head_lines import PER_REQUEST
from kfunc.http.wire import Headers
from kfunc.protocol.json_length import JSON_LENGTH

# What says how the call's own body is written, and what would make another request of it.
NOT_PASSED = frozenset(
    (b"accept", b"accept-encoding", b"content-encoding", b"content-length", b"content-type", b"expect", b"te")
    + (b"ce-specversion", b"grpc-accept-encoding", b"grpc-encoding", b"grpc-internal-encoding-request", JSON_LENGTH)
)
MAX_HEADS = 64


class AskedHead:
    """The head of such a request but for what each has of its own; requests share it."""

    __slots__ = ("header_list", "headers", "memo")

    def __init__(self, header_list: Headers) -> None:
        self.header_list = header_list
        self.headers = dict(header_list)
        self.memo: dict[str, object] = {}


class Asker(Protocol):
    """Who wants the answer; the exchange's Transmitter."""

    def answered(self, status: int, lines: bytes, body: bytes) -> None:
        """The whole answer: its fields as lines, its body."""

    def broken_off(self) -> None:
        """It began, and will not end."""


class Asked(Exchange):
    """An exchange that no connection carries."""

    complete = True
    in_grpc = True

    def __init__(self, outer: Exchange, taker: Transmitter, method: bytes, target: bytes, head: AskedHead | None) -> None:
        headers = outer.headers
        if head is None:  # whoever answers wants to read no more of it than metadata
            super().__init__(taker, method, target, outer.header_list, headers, True)
        else:
            own = [(name, headers[name]) for name in PER_REQUEST if name in headers]
            if own:
                super().__init__(taker, method, target, head.header_list + own, head.headers | dict(own), True)
            else:
                super().__init__(taker, method, target, head.header_list, head.headers, True)
            self.memo = head.memo
        self.called = outer.target
        self._request_id = outer.request_id
        self.started_at = outer.started_at
        self.deadline = outer.deadline


def unasked(outer: Exchange) -> Asked:
    """What stands in the records for a call, or a message of one, that failed before anything was asked."""
    asked = Asked(outer, outer.transmitter, b"POST", outer.target, None)
    asked.refused = asked.cancelled = True
    asked.received = len(outer.body)
    return asked


class Taker:
    """Takes an answer as a connection would, and has it whole for the asker."""

    __slots__ = ("_asker", "_lines", "_parts")

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._lines = b""
        self._parts: list[bytes] = []

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        """A whole answer."""
        exchange.sent_length = len(body)
        self._asker.answered(exchange.status, lines, body)

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None:
        """A large answer begins."""
        self._lines = lines

    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None:
        """Part of it."""
        self._parts.append(chunk)
        exchange.sent_length += len(chunk)

    def send_end(self, exchange: Exchange) -> None:
        """All of it."""
        self._asker.answered(exchange.status, self._lines, b"".join(self._parts))

    def reset(self, exchange: Exchange) -> None:
        """It broke off."""
        self._asker.broken_off()

    def hold(self, exchange: Exchange, paused: bool) -> None:
        """The request's body is here already."""


def head_of(outer: Exchange, target: bytes, json_length: int | None, accept: bytes = b"") -> AskedHead:
    """The head that passes a call's metadata on to `target`, always with the same `accept`.

    `json_length` is that of a V2 request whose tensors are in binary.
    """
    memo = outer.memo
    if memo is None:
        return _make(outer, json_length, accept)
    heads: dict[tuple[bytes, int | None], AskedHead] = memo.setdefault("asked", {})
    head = heads.get((target, json_length))
    if head is None:
        if len(heads) >= MAX_HEADS:
            heads.clear()
        heads[target, json_length] = head = _make(outer, json_length, accept)
    return head


def _make(outer: Exchange, json_length: int | None, accept: bytes) -> AskedHead:
    passed = [field for field in outer.header_list if field[0] not in NOT_PASSED and field[0] not in PER_REQUEST]
    if accept:
        passed.append((b"accept", accept))
    if json_length is None:
        return AskedHead([*passed, (b"content-type", b"application/json")])
    length = (JSON_LENGTH, b"%d" % json_length)
    return AskedHead([*passed, (b"content-type", b"application/octet-stream"), length])


def field_of(lines: bytes, name: bytes) -> bytes:
    """The value of a field in an answer's lines, empty where it is not there."""
    for line in lines.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def error_of(lines: bytes, status: int, body: bytes) -> KfuncError:
    """What REST answered in place of a result."""
    from kfunc.protocol.grpc.rest import read_error

    return read_error(status, body, field_of(lines, b"retry-after"))
