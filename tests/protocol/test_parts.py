"""Answers in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import BadGateway
from kfunc.protocol.parts import PartReader, encode


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.integers(1, 20)), max_size=4), st.integers(1, 50))
def test_parts_are_found_wherever_the_stream_is_cut(given_parts: list[tuple[bytes, int]], size: int) -> None:
    expected = [(body, min(length, len(body))) for body, length in given_parts]
    stream = b"".join(encode(body, length) for body, length in expected)
    reader = PartReader()
    found = [part for at in range(0, len(stream), size) for part in reader.feed(stream[at : at + size])]
    assert found == expected
    assert reader.between


def test_what_is_all_json_says_so() -> None:
    assert PartReader().feed(encode(b"{}", 0)) == [(b"{}", 2)]


def test_a_stream_of_something_else_is_refused() -> None:
    with pytest.raises(BadGateway):
        PartReader().feed(b'{"error": "x"}')
