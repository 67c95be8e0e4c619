"""Content codings of HTTP (RFC 9110, 8.4): gzip, deflate and zstd, both ways. Sans-IO.

The bound on what is inflated holds while it is inflated: a bomb takes no more memory than the bound.
"""

import zlib
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from kfunc.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    import zstandard

CODINGS = (b"gzip", b"deflate", b"zstd")  # what is read and written
PREFERRED = (b"zstd", b"gzip", b"deflate")  # what is written, where the caller likes several as much
ALIASES = {b"x-gzip": b"gzip"}  # RFC 9110, 8.4.1.3

MAX_CODINGS = 3  # one on top of the other
MAX_MEMBERS = 10_000  # gzip members or zstd frames in one body: each costs a decompressor, however little is in it
MAX_ZSTD_WINDOW = 8 * 1024 * 1024  # bytes: RFC 9659, 3
SLICE = 16 * 1024  # bytes of input at a time: what zlib leaves of it is copied
STEP = 64 * 1024  # bytes of output at a time
GZIP_MAGIC = b"\x1f\x8b"
GZIP_LEVEL = 1  # of numbers as text, higher levels take several times longer and save a few percent
ZSTD_LEVEL = 1
UNKNOWN_SIZE = 2**64 - 1  # zstd: the frame does not say how large its content is


def inflate(body: bytes, coding: bytes, limit: int) -> bytes:
    """The body without its content codings; `coding` is the Content-Encoding, several in the order they were applied.

    Raises UnsupportedMediaType for a coding that is not read, PayloadTooLarge past `limit` bytes (after any of
    the codings) and InvalidRequest for data that is broken, cut off or followed by something else.
    """
    codings = _codings(coding)
    if codings and not body:
        raise InvalidRequest("the request has a Content-Encoding, but no body")
    for name in reversed(codings):
        body = _inflate_zstd(body, limit) if name == b"zstd" else _inflate_zlib(body, name, limit)
    return body


def deflate(body: bytes, coding: bytes) -> bytes:
    """The body in one of `CODINGS`."""
    if coding == b"zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
    return zlib.compress(body, GZIP_LEVEL, wbits=31 if coding == b"gzip" else 15)


def choose(accept_encoding: bytes) -> bytes | None:
    """The coding to answer in, by an Accept-Encoding (RFC 9110, 12.5.3), or None for a plain answer.

    A plain answer is also what a caller gets who accepts nothing that is written here.
    """
    return _preference(accept_encoding)[0]


def is_plain_refused(accept_encoding: bytes) -> bool:
    """Whether the caller wants a coding for every answer, a short one too: `identity;q=0`, and one of ours."""
    return _preference(accept_encoding)[1]


@lru_cache(256)
def _preference(accept_encoding: bytes) -> tuple[bytes | None, bool]:
    weights: dict[bytes, float] = {}
    for item in accept_encoding.lower().split(b","):
        name, _, parameters = item.partition(b";")
        name = name.strip()
        weight = _weight(parameters)
        if name and weight is not None:
            weights[ALIASES.get(name, name)] = weight
    rest = weights.get(b"*", 0.0)
    best = max(PREFERRED, key=lambda name: weights.get(name, rest))
    weight, plain = weights.get(best, rest), weights.get(b"identity", 0.0)
    if weight <= 0 or plain > weight:
        return None, False
    return best, weights.get(b"identity", weights.get(b"*", 1.0)) <= 0


def _weight(parameters: bytes) -> float | None:
    """The `q` of an item, 1 without one; None where it is not a weight (RFC 9110, 12.4.2)."""
    for parameter in parameters.split(b";"):
        name, equals, value = parameter.partition(b"=")
        if name.strip() == b"q" and equals:
            value = value.strip()
            digits = value.replace(b".", b"", 1)
            return float(value) if digits.isdigit() and len(value) <= 5 and float(value) <= 1 else None
    return 1.0


@lru_cache(256)
def _codings(value: bytes) -> list[bytes]:
    """The codings of a Content-Encoding that change something. Raises UnsupportedMediaType."""
    found = [item.strip() for item in value.lower().split(b",")]
    names = [ALIASES.get(item, item) for item in found if item not in (b"", b"identity")]
    for name in names:
        if name not in CODINGS:
            shown = name.decode("latin-1")[:40]
            raise UnsupportedMediaType(f"the Content-Encoding {shown!r} is not read here; gzip, deflate and zstd are")
    if len(names) > MAX_CODINGS:
        raise UnsupportedMediaType(f"{len(names)} content codings one on top of the other; at most {MAX_CODINGS} are read")
    return names


def _too_large(limit: int) -> PayloadTooLarge:
    error = PayloadTooLarge(f"the body is larger than {limit} bytes without its Content-Encoding (limits.max_body_bytes)")
    error.close = False  # all of it was read: the next request can follow
    return error


def _broken(name: str) -> InvalidRequest:
    return InvalidRequest(f"the body is not valid {name} data, which its Content-Encoding says it is")


def _too_many_members() -> InvalidRequest:
    return InvalidRequest(f"the body has more than {MAX_MEMBERS} compressed parts, one after the other")


def _cut_off(name: str) -> InvalidRequest:
    return InvalidRequest(f"the {name} data of the body is cut off: its end is missing")


# ---- gzip (RFC 1952) and deflate (RFC 1950, or RFC 1951 alone, as some senders understand it)


def _inflate_zlib(body: bytes, coding: bytes, limit: int) -> bytes:
    name = coding.decode()
    out = BytesIO()  # it grows in place and is given away as it is: nothing is there twice
    view = memoryview(body)
    position, members = 0, 0
    while position < len(body):
        if members and (name != "gzip" or body[position : position + 2] != GZIP_MAGIC):
            raise InvalidRequest(f"the body goes on after the end of its {name} data")
        members += 1
        if members > MAX_MEMBERS:
            raise _too_many_members()
        position = _inflate_member(name, view, position, out, limit)
    return out.getvalue()


def _inflate_member(name: str, view: memoryview, position: int, out: BytesIO, limit: int) -> int:
    """Inflate one stream from `position` on into `out`; where it ends."""
    stream = zlib.decompressobj(31 if name == "gzip" else 15 if _has_zlib_head(view) else -15)
    while not stream.eof:
        piece: bytes | memoryview = view[position : position + SLICE]
        if not piece:
            raise _cut_off(name)
        position += len(piece)
        while True:
            try:
                part = stream.decompress(piece, STEP)
            except zlib.error:
                raise _broken(name) from None
            if out.tell() + len(part) > limit:
                raise _too_large(limit)
            out.write(part)
            piece = stream.unconsumed_tail
            # With a full step there may be more of it inside, though all input is taken.
            if stream.eof or (not piece and len(part) < STEP):
                break
    return position - len(stream.unused_data)


def _has_zlib_head(view: memoryview) -> bool:
    """RFC 1950, 2.2; a raw stream never begins so: it would be a stored block whose padding is not zero."""
    return len(view) >= 2 and view[0] & 0x0F == 8 and (view[0] << 8 | view[1]) % 31 == 0


# ---- zstd (RFC 8878)


def _inflate_zstd(body: bytes, limit: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
    try:
        size = zstandard.get_frame_parameters(body).content_size
        if 0 < size <= limit:
            return decompressor.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError:
        pass  # several frames, or what is wrong is found below
    try:
        _measure_zstd(decompressor, body, limit)
        return _inflate_frames(decompressor, body)
    except zstandard.ZstdError:
        raise _broken("zstd") from None


def _measure_zstd(decompressor: "zstandard.ZstdDecompressor", body: bytes, limit: int) -> None:
    """Inflate into nothing: only this reader gives bounded parts, and only the other one knows where a frame ends."""
    total = 0
    room = bytearray(STEP)
    with decompressor.stream_reader(body, read_across_frames=True) as reader:
        while count := reader.readinto(room):
            total += count
            if total > limit:
                raise _too_large(limit)


def _inflate_frames(decompressor: "zstandard.ZstdDecompressor", body: bytes) -> bytes:
    out = BytesIO()
    view = memoryview(body)
    frame = decompressor.decompressobj()
    position, frames = 0, 1
    while position < len(body):
        if frame.eof:
            frame = decompressor.decompressobj()
            frames += 1
            if frames > MAX_MEMBERS:
                raise _too_many_members()
        piece = view[position : position + SLICE]
        out.write(frame.decompress(piece))
        position += len(piece) - len(frame.unused_data)
    if not frame.eof:
        raise _cut_off("zstd")
    return out.getvalue()
