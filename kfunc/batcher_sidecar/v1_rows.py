"""V1 requests in rows: read, merged and answered as text, so that no number changes. Sans-IO."""

from collections.abc import Hashable
from typing import Any

import msgspec
from msgspec import Raw

from kfunc.errors import BadGateway
from kfunc.protocol.json_text import ERRORS
from kfunc.protocol.v1 import COLUMNS, ROWS

_DOCUMENT = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()

LARGE_ROW = 4096
"""Bytes from which on a row's form is told from its text."""
MAX_COMMON = 4096
"""Bytes of other members that requests must have in common: groups keep them when the requests are gone."""
PREDICTIONS = "predictions"


class V1Request:
    """Rows as texts, and the other members of the document."""

    __slots__ = ("others", "rows", "texts")

    altered = wanted = False
    level = timeout_s = None

    def __init__(self, texts: list[Raw], others: dict[str, Raw]) -> None:
        self.texts = texts
        self.rows = len(texts)
        self.others = others


def read(body: bytes) -> tuple[V1Request, Hashable] | None:
    """A request and what it must have in common with others; None where it is not one in rows, or is wrong."""
    try:
        if not body.isascii():
            body.decode()
        document = _DOCUMENT.decode(body)
        if COLUMNS in document:  # its inputs may have different numbers of rows
            return None
        rows = _LIST.decode(document.pop(ROWS))
        if not rows:
            return None
        form = _form(bytes(rows[0]))
    except (KeyError, *ERRORS):
        return None
    others = tuple(sorted([(name, bytes(value)) for name, value in document.items()])) if document else ()
    if others and sum([len(name) + len(value) for name, value in others]) > MAX_COMMON:
        return None
    return V1Request(rows, document), (others, form)


def _form(text: bytes) -> Hashable:
    """The trailing shape of an instance, by its first elements, and what its values are."""
    if len(text) > LARGE_ROW:
        return len(text) - len(text.lstrip(b"[ \t\r\n")), text.count(b","), text.count(b"[")
    row: Any = _ANY.decode(text)
    widths: list[Hashable] = []
    while type(row) is list and row:
        widths.append(len(row))
        row = row[0]
    if type(row) is dict:
        widths += sorted(row)
    kind = type(row)
    return (*widths, float if kind is int else kind)


def merge(pieces: list[tuple[V1Request, int, int]]) -> bytes:
    """One body of the rows `start` to before `end` of each request."""
    texts = [bytes(text) for request, start, end in pieces for text in request.texts[start:end]]
    others = pieces[0][0].others
    more = b"," + msgspec.json.encode(others)[1:-1] if others else b""
    return b'{"%b":[%b]%b}' % (ROWS.encode(), b",".join(texts), more)


class V1Answer:
    """An answer to several requests. Raises BadGateway where it has other rows than were asked.

    So may have what stands beside the predictions: an array of as many elements is not everybody's.
    """

    __slots__ = ("_opening", "_texts")

    def __init__(self, body: bytes, total: int) -> None:
        try:
            document: dict[str, Any] = _DOCUMENT.decode(body)
            self._texts = [bytes(text) for text in _LIST.decode(document.pop(PREDICTIONS))]
        except (KeyError, *ERRORS):
            self._texts = []
            document = {}
        if len(self._texts) != total:
            raise BadGateway("the upstream's answer to a batch does not have a prediction for each instance")
        for name, value in document.items():
            if bytes(value).startswith(b"[") and len(_LIST.decode(value)) == total:
                raise BadGateway(f"{name!r} of the upstream's answer to a batch may have a value for each instance")
        opening = msgspec.json.encode(document)[:-1]
        self._opening = opening if opening == b"{" else opening + b","

    @staticmethod
    def part(sources: "list[tuple[V1Answer, int, int]]") -> bytes:
        """What one caller gets: the rows `start` to before `end` of each answer."""
        texts = [text for answer, start, end in sources for text in answer._texts[start:end]]
        return b'%b"predictions":[%b]}' % (sources[0][0]._opening, b",".join(texts))
