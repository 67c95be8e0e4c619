"""In which form a request's head says that its body comes, and in which its answer may go. Pure.

Most heads say nothing of it: plain JSON both ways, `PLAIN`.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import inf

from kfunc.errors import InvalidRequest, UnsupportedMediaType
from kfunc.http.exchange import Exchange
from kfunc.http.wire import JSON, LEAST_CODED
from kfunc.protocol.json_length import JSON_LENGTH, number_of

OCTETS = b"application/octet-stream"
PICTURE, TABLE = "picture", "table"


class Form:
    """`unusual` says that the body needs more than its protocol's codec.

    `coding` is its Content-Encoding, `json_length` the length of the JSON part before binary tensors, `kind` what it
    is in place of JSON. An answer of at least `least` bytes goes in the coding `answer_coding`.
    """

    __slots__ = ("answer_coding", "coding", "event", "json_length", "kind", "least", "unusual")

    def __init__(self, coding: bytes, json_length: int | None, accepted: bytes, *, event: bool, kind: str = "") -> None:
        self.coding = coding
        self.json_length = json_length
        self.event = event
        self.kind = kind
        self.unusual = bool(coding or kind) or json_length is not None or event
        self.answer_coding: bytes | None = None
        self.least = inf
        if accepted:
            from kfunc.http.coding import choose, is_plain_refused

            self.answer_coding = choose(accepted)
            if self.answer_coding is not None:
                self.least = 0 if is_plain_refused(accepted) else LEAST_CODED


def is_event(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a head says that a CloudEvent comes, or a batch of them (HTTP Protocol Binding, 3)."""
    return b"ce-specversion" in headers or headers.get(b"content-type", b"").lower().startswith(b"application/cloudevents")


def require_event(exchange: Exchange) -> None:
    """Refuse a POST to `/` that is none. Raises InvalidRequest, UnsupportedMediaType."""
    headers = exchange.headers
    if not is_event(headers):
        if any(name.startswith(b"ce-") for name in headers):
            raise InvalidRequest("the event's attribute specversion is missing: the header ce-specversion: 1.0")
        raise UnsupportedMediaType(
            "POST / takes a CloudEvent, as application/cloudevents+json or with headers ce-…; "
            "other requests go to /v2/models/NAME/infer or /v1/models/NAME:predict"
        )


PLAIN = Form(b"", None, b"", event=False)


def form_of(exchange: Exchange) -> Form:
    """What a head says; kept in its memo as `form`. Raises InvalidRequest for a length that is none."""
    form = _told(exchange.headers)
    if exchange.memo is not None:
        exchange.memo["form"] = form
    return form


def _told(headers: Mapping[bytes, bytes]) -> Form:
    coding = headers.get(b"content-encoding", b"")
    accepted = headers.get(b"accept-encoding", b"")
    length = headers.get(JSON_LENGTH)
    kind = headers.get(b"content-type", b"")
    event = b"ce-specversion" in headers if kind == JSON else is_event(headers)
    if kind != JSON and not event and (other := _kind(kind)):
        return Form(coding, None, accepted, event=False, kind=other)
    if length is None and not event:
        return _usual(coding, accepted) if coding or accepted else PLAIN
    if length is None:
        return Form(coding, None, accepted, event=event)
    json_length = number_of(length)
    if json_length is None:
        raise InvalidRequest("Inference-Header-Content-Length must be a number of bytes")
    return Form(coding, json_length, accepted, event=event)


def _kind(content_type: bytes) -> str:
    start = content_type[:8].lower()
    return PICTURE if start.startswith(b"image/") else TABLE if start == b"text/csv" else ""


@lru_cache(256)
def _usual(coding: bytes, accepted: bytes) -> Form:
    return Form(b"" if coding.strip().lower() == b"identity" else coding, None, accepted, event=False)
