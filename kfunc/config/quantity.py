"""Kubernetes quantities: "250m", "1.5", "512Mi", "1e3". Pure; exact, as a Fraction."""

import re
from fractions import Fraction
from typing import Annotated

from msgspec import Meta

# Knative Functions' pattern; what it lets through is read by parse_quantity.
Quantity = Annotated[
    str,
    Meta(
        pattern=r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$",
        extra_json_schema={"patternErrorMessage": 'expected a quantity such as "250m" of cpu or "512Mi" of memory'},
    ),
]

# apimachinery, resource.Quantity: a decimal number, then a binary suffix, a decimal suffix or an exponent.
NUMBER = r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})"
EXPONENT = r"[eE][+-]?[0-9]{1,2}"
SUFFIX = r"[numkMGTPE]|[KMGTPE]i"
GRAMMAR = re.compile(rf"({NUMBER})(?:({EXPONENT})|({SUFFIX})?)")
SUFFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))},
    **{f"{prefix}i": Fraction(1024**power) for power, prefix in enumerate("KMGTPE", 1)},
}


def parse_quantity(text: str) -> Fraction | None:
    """The value in cores or bytes; None if Kubernetes would not read the text."""
    match = GRAMMAR.fullmatch(text)
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    value = Fraction(number.removesuffix("."))
    return value * Fraction(10) ** int(exponent[1:]) if exponent else value * SUFFIXES[suffix or ""]
