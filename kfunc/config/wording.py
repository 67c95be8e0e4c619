"""Types and values in words: "expected an integer from 0 to 1024, found the string "32"". Pure."""

import re
from typing import Any

from msgspec import inspect

from kfunc.config.field_path import show_text

NOUNS: dict[type, str] = {
    inspect.StrType: "a string",
    inspect.IntType: "an integer",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.ListType: "a list",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
}


def inner(kind: inspect.Type) -> inspect.Type:
    """The type without its description."""
    return inner(kind.type) if isinstance(kind, inspect.Metadata) else kind


def expected(kind: inspect.Type) -> str:
    """What a value of this type is: "an integer of at least 1", "one of auto, cpu, cuda"."""
    kind = inner(kind)
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(str(value) for value in kind.values)}"
    if isinstance(kind, inspect.UnionType):
        parts = [inner(part) for part in kind.types]
        return " or ".join(f'"{part.values[0]}"' if isinstance(part, inspect.LiteralType) else expected(part) for part in parts)
    noun = NOUNS[type(kind)]
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return noun + _bounds(kind)
    return noun


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    gt, ge, lt, le = (None if bound is None else _number(bound) for bound in (kind.gt, kind.ge, kind.lt, kind.le))
    low = f"more than {gt}" if gt is not None else f"at least {ge}" if ge is not None else ""
    high = f"at most {le}" if le is not None else f"less than {lt}" if lt is not None else ""
    if ge is not None and le is not None:
        return f" from {ge} to {le}"
    return f" of {low} and {high}" if low and high else f" of {low or high}" if low or high else ""


def _number(value: float) -> str:
    """A bound in full: 2147483647, not 2.14748e+09, which may be typed and then refused."""
    return str(int(value)) if value == int(value) else f"{value:g}"


def found(value: Any, plain: str) -> str:
    """What was found; `plain` is its text where it stood without quotes."""
    if value is None:
        return plain or "nothing"
    if isinstance(value, bool):
        return f"the boolean {plain or str(value).lower()}"
    if isinstance(value, int):
        return f"the integer {plain or value}"
    if isinstance(value, float):
        return f"the number {plain or value}"
    if isinstance(value, str):
        return f"the string {show_text(value)}" if value else "an empty string"
    return "a list" if isinstance(value, list) else "a mapping"


def pattern_words(kind: inspect.Type) -> str:
    """The words for a pattern, where the field gives any."""
    while isinstance(kind, inspect.Metadata):
        if words := (kind.extra_json_schema or {}).get("patternErrorMessage"):
            return str(words)
        kind = kind.type
    return f"expected text that matches {kind.pattern}" if isinstance(kind, inspect.StrType) else ""


def matches(pattern: str, text: str) -> bool:
    """As JSON Schema has it: unlike Python's, its `$` does not match before a last line end."""
    strict = pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") and not pattern.endswith(r"\$") else pattern
    return re.search(strict, text) is not None
