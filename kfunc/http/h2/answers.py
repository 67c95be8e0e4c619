"""The header blocks of answers: what the application says, and what the server adds (RFC 9113, 8.3.2). Sans-IO."""

from http import HTTPStatus

from kfunc.http.answers import timing_line
from kfunc.http.exchange import REQUEST_ID, Exchange
from kfunc.http.h2.fields import encode_field, encode_lines, encode_name, integer

STATUS = {status.value: encode_field(b":status", b"%d" % status) for status in HTTPStatus}
CONTINUE = STATUS[100]
NO_BODY = (204, 304)

LENGTH_NAME = encode_name(b"content-length")
REQUEST_ID_NAME = encode_name(REQUEST_ID)


def answer_block(exchange: Exchange, lines: bytes, length: int | None, date_line: bytes, outermost: bool) -> bytes:
    """The head of an answer with `lines`, as HTTP/1.1 would have them, and a body of `length` bytes where that is known.

    An answer that is another server's has its Date in `lines`; `outermost` adds the request's id.
    """
    status = exchange.status
    block = STATUS.get(status) or encode_field(b":status", b"%d" % status)
    if not exchange.forwarded:
        block += encode_lines(date_line)
    if lines:
        block += encode_lines(lines)
    if outermost:
        identifier = exchange.request_id
        block += b"%b%b%b" % (REQUEST_ID_NAME, integer(len(identifier), 7), identifier)
    if exchange.compute_s or exchange.batch_s:
        block += encode_lines_anew(timing_line(exchange))
    if length is None or status in NO_BODY:
        return block
    digits = b"%d" % length
    return b"%b%b%c%b" % (block, LENGTH_NAME, len(digits), digits)


def encode_lines_anew(line: bytes) -> bytes:
    """One line that will hardly come again."""
    name, _, value = line.partition(b": ")
    return encode_field(name, value[:-2])
