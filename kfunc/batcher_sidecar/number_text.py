"""Flat JSON arrays of numbers as text: to join and to cut them needs no number, and changes none. Sans-IO."""

from msgspec import Raw

# All that an array of numbers consists of. It has been read as JSON: what is made of these is one.
NUMERIC = b"0123456789+-.eE, \t\r\n"


def number_text(array: Raw) -> bytes | None:
    """What is between the brackets of a flat array of at least one number; None for anything else."""
    text = bytes(array)
    if text[:1] != b"[":
        return None
    inner = text[1:-1]
    return None if inner.translate(None, NUMERIC) or not inner.strip() else inner


def join(texts: list[bytes]) -> Raw:
    """One array of all numbers."""
    return Raw(b"[%b]" % b",".join(texts))
