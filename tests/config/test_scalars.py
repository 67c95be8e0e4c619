"""Plain scalars and quantities: the smallest parsers, on their own."""

from fractions import Fraction

import pytest

from kfunc.config.quantity import parse_quantity
from kfunc.config.scalars import MAX_INTEGER, resolve


@pytest.mark.parametrize("number", [MAX_INTEGER, -MAX_INTEGER])
def test_the_largest_integers_that_fit_64_bits_are_integers(number: int) -> None:
    assert resolve(str(number)) == number


@pytest.mark.parametrize("text", [str(MAX_INTEGER + 1), hex(MAX_INTEGER + 1), oct(MAX_INTEGER + 1), "1e400", "9" * 101])
def test_a_number_that_no_setting_can_hold_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"64 bits|finite|digits"):
        resolve(text)


@pytest.mark.parametrize("text", ["1.2.3", "1e", "0x", "0xg", "0o8", "+", "-", ".", "e1", "1 2", "infinity", "nan", "inf"])
def test_what_only_looks_like_a_number_is_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)),
        ("250m", Fraction(1, 4)),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("1.", Fraction(1)),
        ("512Mi", Fraction(512 * 1024**2)),
        ("1G", Fraction(10**9)),
        ("1k", Fraction(1000)),
        ("1e3", Fraction(1000)),
        ("1E-2", Fraction(1, 100)),
        ("1E", Fraction(10**18)),
        ("2Ei", Fraction(2 * 1024**6)),
        ("5n", Fraction(5, 10**9)),
        ("-1", Fraction(-1)),
    ],
)
def test_quantities_have_the_value_that_kubernetes_gives_them(text: str, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "1.2.3", "1 Mi", "1mi", "1MB", "1K", "1e", "1e3Mi", "0x10", "1mM", "٣", "1\n", "9" * 21]
)
def test_what_kubernetes_would_not_read_is_no_quantity(text: str) -> None:
    assert parse_quantity(text) is None
