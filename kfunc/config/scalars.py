"""What a plain (unquoted) scalar means: YAML 1.2's core schema, without timestamps and YAML 1.1's booleans.

Pure: text in, a plain value out.
"""

import re
from math import isfinite

MAX_INTEGER = 2**63 - 1
MAX_DIGITS = 100

CONSTANTS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
INTEGER = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o[0-7]+")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar. Raises ValueError, with the message for the user, where no setting can hold it."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if not FLOAT.fullmatch(text) and not OCTAL.fullmatch(text) and not HEXADECIMAL.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits, {MAX_DIGITS} are the most")
    for pattern, base in (INTEGER, 10), (OCTAL, 8), (HEXADECIMAL, 16):
        if pattern.fullmatch(text):
            return _bounded(int(text, base), text)
    value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _bounded(value: int, text: str) -> int:
    if abs(value) > MAX_INTEGER:
        raise ValueError(f"the integer {text} does not fit into 64 bits")
    return value
