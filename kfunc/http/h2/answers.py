"""The header blocks of answers: what the application says, and what the server adds (RFC 9113, 8.3.2). Sans-IO."""

from http import HTTPStatus

from kfunc.http.answers import timing
from kfunc.http.exchange import Exchange
from kfunc.http.h2.fields import LONG_STRING, encode_field, encode_lines, encode_name, integer
from kfunc.http.head_lines import REQUEST_ID

STATUS = {status.value: encode_field(b":status", b"%d" % status) for status in HTTPStatus}
CONTINUE = STATUS[100]
NO_BODY = (204, 304)

LENGTH_NAME = encode_name(b"content-length")
REQUEST_ID_NAME = encode_name(REQUEST_ID)
TIMING_NAME = encode_name(b"server-timing")


def answer_block(exchange: Exchange, lines: bytes, length: int | None, date_line: bytes, outermost: bool) -> bytes:
    """The head of an answer with `lines`, as HTTP/1.1 would have them, and a body of `length` bytes where that is known.

    An answer that is another server's has its Date in `lines`; `outermost` adds the request's id.
    """
    status = exchange.status
    block = STATUS.get(status) or encode_field(b":status", b"%d" % status)
    block += encode_lines(lines if exchange.forwarded else date_line + lines)
    if outermost:
        block += named(REQUEST_ID_NAME, exchange.request_id)
    if exchange.compute_s or exchange.batch_s:
        block += named(TIMING_NAME, timing(exchange))
    if length is None or status in NO_BODY:
        return block
    return block + named(LENGTH_NAME, b"%d" % length)


def named(name: bytes, value: bytes) -> bytes:
    """A field whose name is encoded already."""
    size = len(value)
    return b"%b%c%b" % (name, size, value) if size < LONG_STRING else b"%b%b%b" % (name, integer(size, 7), value)
