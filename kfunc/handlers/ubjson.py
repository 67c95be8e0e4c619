"""UBJSON as XGBoost writes it → Python's values: bytes in, values out.

Typed arrays become arrays of numpy over the file's own bytes, so that a model costs by its trees and not by its nodes.
"""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.handlers.tree_shape import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH = 64
"""How many arrays and objects may be in each other; XGBoost's models have 7."""
NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
CONSTANTS = {ord("Z"): None, ord("T"): True, ord("F"): False}
LENGTH = struct.Struct(">q")

SCALARS = {ord(letter): struct.Struct(">" + code) for letter, code in zip("iUIlLdD", "bBhiqfd", strict=True)}
TYPES = {ord(letter): np.dtype(name) for letter, name in NUMBERS.items()}
LONG, OBJECT, END, ARRAY, CLOSE, TYPED, COUNTED, STRING = b"L{}[]$#S"


def decode(content: bytes) -> Any:
    """The document's value. Raises Broken."""
    reader = _Reader(content)
    try:
        value = reader.value(0)
    except (IndexError, struct.error):
        raise Broken(f"is truncated: it ends at byte {len(content)} in the midst of a value") from None
    if reader.at != len(content):
        raise Broken(f"has {len(content) - reader.at} bytes after the end of its document")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0
        self._known: dict[bytes, str] = {}
        self._compound: dict[int, Callable[[int], Any]] = {OBJECT: self._object, ARRAY: self._array}

    def value(self, depth: int) -> Any:
        letter = self.content[self.at]
        self.at += 1
        if read := self._compound.get(letter):
            if depth == DEPTH:
                raise Broken(f"has more than {DEPTH} arrays and objects in each other")
            return read(depth + 1)
        if letter == STRING:
            return self._text()
        if scalar := SCALARS.get(letter):
            (value,) = scalar.unpack_from(self.content, self.at)
            self.at += scalar.size
            return value
        if letter in CONSTANTS:
            return CONSTANTS[letter]
        raise Broken(f"has no value of UBJSON at byte {self.at - 1}")

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.content[self.at] != END:
            name = self._text()
            if name in found:
                raise Broken(f"tells {name[:60]!r} twice, before byte {self.at}")
            found[name] = self.value(depth)
        self.at += 1
        return found

    def _array(self, depth: int) -> Any:
        kind = None
        if self.content[self.at] == TYPED:
            kind = TYPES.get(self.content[self.at + 1])
            self.at += 2
            if kind is None or self.content[self.at] != COUNTED:
                raise Broken(f"has an array of an unknown type at byte {self.at - 1}")
        if self.content[self.at] == COUNTED:
            self.at += 1
            return self._counted(depth, kind)
        values = []
        while self.content[self.at] != CLOSE:
            values.append(self.value(depth))
        self.at += 1
        return values

    def _counted(self, depth: int, kind: "np.dtype[Any] | None") -> Any:
        size = 1 if kind is None else kind.itemsize
        count = self._length(size)
        if kind is None:
            return [self.value(depth) for _ in range(count)]
        start = self.at
        self.at += count * size
        return np.frombuffer(self.content, kind, count, start) if count else np.empty(0, kind)

    def _length(self, size: int) -> int:
        """How many things of this size follow; as many must be there."""
        if self.content[self.at] != LONG:
            raise Broken(f"has no length at byte {self.at}")
        (length,) = LENGTH.unpack_from(self.content, self.at + 1)
        self.at += 9
        left = len(self.content) - self.at
        if length < 0:
            raise Broken(f"has the length {length} at byte {self.at - 9}")
        if length * size > left:
            raise Broken(f"is truncated: {length * size} bytes are told at byte {self.at - 9}, and {left} follow")
        return int(length)

    def _text(self) -> str:
        length = self._length(1)
        raw = self.content[self.at : self.at + length]
        self.at += length
        text = self._known.get(raw)
        if text is None:
            try:
                text = self._known[raw] = raw.decode()
            except UnicodeDecodeError:
                raise Broken(f"has a text that is not UTF-8 before byte {self.at}") from None
        return text
