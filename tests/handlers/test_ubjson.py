"""UBJSON, in bytes made by hand."""

import struct

import numpy as np
import pytest

from kfunc.handlers.tree_shape import Broken
from kfunc.handlers.ubjson import DEPTH, decode


def length(count: int) -> bytes:
    return b"L" + struct.pack(">q", count)


def name(text: str) -> bytes:
    return length(len(text)) + text.encode()


def test_an_object_has_its_members() -> None:
    content = b"{" + name("a") + b"i\xff" + name("b") + b"S" + name("text") + name("c") + b"[TFZ]" + b"}"
    assert decode(content) == {"a": -1, "b": "text", "c": [True, False, None]}


def test_a_typed_array_is_one_of_numpy() -> None:
    found = decode(b"[$l#" + length(2) + struct.pack(">ii", 7, -1))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [7, -1]


def test_a_counted_array_may_hold_anything() -> None:
    assert decode(b"[#" + length(2) + b"[]" + b"d" + struct.pack(">f", 0.5)) == [[], 0.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{" + name("a") + b"i", "is truncated"),
        (b"{" + name("a")[:4], "is truncated"),
        (b"[$l#" + length(9), "is truncated: 36 bytes are told at byte 4, and 0 follow"),
        (b"[#" + length(1 << 62), "is truncated"),
        (b"[$l#" + length(-1), "has the length -1"),
        (b"[$S#" + length(1), "an array of an unknown type"),
        (b"[#i\x01", "has no length"),
        (b"[" * 300_000, f"has more than {DEPTH} arrays and objects in each other"),
        (b"[]x", "has 1 bytes after the end of its document"),
        (b"?", "has no value of UBJSON at byte 0"),
        (b"{" + 2 * (name("a") + b"Z") + b"}", "tells 'a' twice"),
        (b"S" + length(1) + b"\xff", "a text that is not UTF-8"),
    ],
)
def test_what_is_no_whole_document_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        decode(content)
