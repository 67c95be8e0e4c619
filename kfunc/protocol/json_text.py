"""What is told from a JSON text without decoding it, and from a JSON value without looking into it. Sans-IO."""

from typing import Any

import msgspec

from kfunc.errors import InvalidRequest

MAX_DEPTH = 100  # of arrays and objects in one another

# What msgspec raises for a text, whatever it is.
ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

SMALL = 4096
FEW = 16

KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def cause(error: Exception) -> str:
    """Why msgspec refused a text, for the caller."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def kind_of(value: Any) -> str:
    """What a decoded value is, with its article."""
    return KINDS.get(type(value), "null")


def require_shallow(what: str, value: Any) -> None:
    """Refuse a decoded value that is nested more than MAX_DEPTH deep: who passes it on may go as deep as it does."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for each in level
            if type(each) in (dict, list)
            for part in (each.values() if type(each) is dict else each)
            if type(part) in (dict, list)
        ]
        if not level:
            return
    raise InvalidRequest(f"{what}: nested more than {MAX_DEPTH} deep")


def may_hold_booleans(body: bytes) -> bool:
    """Whether `true` or `false` stands anywhere in the text, in its strings too.

    In a large one to look for a word costs 1 ns a byte; for a letter that numbers do not have, nearly nothing.
    """
    if len(body) <= SMALL:
        return b"true" in body or b"false" in body
    return _stands(body, b"true", b"u", 2) or _stands(body, b"false", b"l", 2)


def _stands(body: bytes, word: bytes, letter: bytes, offset: int) -> bool:
    at = -1
    for _ in range(FEW):
        at = body.find(letter, at + 1)
        if at < 0:
            return False
        if at >= offset and body.startswith(word, at - offset):
            return True
    return body.find(word, at + 1 - offset) >= 0  # text rather than numbers
