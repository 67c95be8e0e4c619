"""Arrays of numbers as text: which are taken, and that joining changes no digit."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.batcher_sidecar.number_text import join, number_text

NUMBERS = st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=10)


def text_of(array: str) -> bytes | None:
    return number_text(msgspec.json.decode(array, type=msgspec.Raw))


@pytest.mark.parametrize(
    ("array", "text"),
    [("[1]", b"1"), ("[1.50,2e3]", b"1.50,2e3"), ("[ -0 ,\n1E+2\t]", b" -0 ,\n1E+2\t")],
)
def test_a_flat_array_of_numbers_is_its_text(array: str, text: bytes) -> None:
    assert text_of(array) == text


@pytest.mark.parametrize("array", ["[]", "[ ]", "[[1]]", "[null]", "[true]", '["1"]', "1", "null", "{}", '"[1]"', "[1,{}]"])
def test_anything_else_is_left_to_others(array: str) -> None:
    assert text_of(array) is None


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_joined_arrays_hold_the_same_numbers(arrays: list[list[int | float]]) -> None:
    texts = [text_of(json.dumps(array)) for array in arrays]
    assert json.loads(bytes(join([text for text in texts if text is not None]))) == [each for array in arrays for each in array]
