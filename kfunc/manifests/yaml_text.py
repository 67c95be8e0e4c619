"""Manifests → YAML text that people read and every YAML reader reads as the same value. Pure.

Block style, keys in the order given. A string is plain only where YAML 1.1 and 1.2 both read it as
that string; else it is quoted, or a literal block where it has lines.
"""

import re
from typing import Any

# Starts with a letter, "/" or "_", or is a flag; no indicator that means something within or at the end of a plain scalar.
PLAIN = re.compile(
    r"(?:--?(?=[A-Za-z]))?[A-Za-z_/](?:[A-Za-z0-9_./@+~^()$%=,;-]|:(?=[^\s:])| (?=[A-Za-z0-9_./@+~^()$%=,;-]))*(?<![:,])",
    re.ASCII,
)
WORD = re.compile(r"-{0,2}[A-Za-z_/][A-Za-z0-9_./-]*", re.ASCII)
MAX_SHORT = 60
QUANTITY = re.compile(r"[0-9]{1,15}(?:m|k|M|G|T|Ki|Mi|Gi|Ti|s|h)", re.ASCII)
# What some YAML reader takes for a boolean, null or number although it starts with a letter.
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def write(value: dict[str, Any]) -> str:
    """One document, with a line end at its end."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, inside in value.items():
        shown = scalar(key)
        if isinstance(inside, (dict, list)) and inside and not _is_short(inside):
            lines.append(f"{shown}:")
            lines += [f"  {line}" if line else "" for line in _block(inside)]
        else:
            first, *rest = _leaf(inside)
            lines.append(f"{shown}: {first}")
            lines += [f"  {line}" if line else "" for line in rest]
    return lines


def _block(value: dict[str, Any] | list[Any]) -> list[str]:
    if isinstance(value, dict):
        return _mapping(value)
    lines: list[str] = []
    for item in value:
        first, *rest = _block(item) if isinstance(item, (dict, list)) and item and not _is_short(item) else _leaf(item)
        lines.append(f"- {first}")
        lines += [f"  {line}" if line else "" for line in rest]
    return lines


def _leaf(value: Any) -> list[str]:
    """The lines of a scalar, of an empty mapping, or of a list that fits on one line."""
    if isinstance(value, dict):
        return ["{}"]
    if isinstance(value, list):
        return [f"[{', '.join(value)}]"]
    if isinstance(value, str) and (style := _literal(value)):
        return [style, *value.removesuffix("\n").split("\n")]
    return [scalar(value)]


def scalar(value: Any) -> str:
    """A string, number, boolean or null on one line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if is_plain(value):
        return str(value)
    if '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return '"' + "".join(_escape(character) for character in value) + '"'


def is_plain(text: str) -> bool:
    """Whether a string needs no quotes."""
    if QUANTITY.fullmatch(text):
        return True
    return PLAIN.fullmatch(text) is not None and text.lower() not in WORDS


def _is_short(value: Any) -> bool:
    """Whether a list is written as `[python, -m, kfunc]`: a few simple words."""
    words = isinstance(value, list) and all(isinstance(item, str) and WORD.fullmatch(item) for item in value)
    return words and sum(map(len, value)) <= MAX_SHORT and all(is_plain(item) for item in value)


def _literal(text: str) -> str:
    """The header of a literal block, empty where the text cannot be one."""
    body = text.removesuffix("\n")
    fits = "\n" in body and body[0] not in " \n" and not body.endswith("\n")
    if not fits or not all(line.isprintable() and not line.endswith(" ") for line in body.split("\n")):
        return ""
    return "|" if text.endswith("\n") else "|-"


def _escape(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
