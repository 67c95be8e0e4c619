"""Messages in a call's body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest, PayloadTooLarge
from kfunc.protocol.grpc.framing import Deframer, frame, only_message


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=20)), max_size=5), st.lists(st.integers(1, 9), min_size=1))
def test_messages_are_found_wherever_the_stream_is_cut(messages: list[tuple[bool, bytes]], sizes: list[int]) -> None:
    stream = b"".join(frame(message, compressed=flag) for flag, message in messages)
    deframer, found, at = Deframer(100), [], 0
    for turn in range(len(stream)):
        size = sizes[turn % len(sizes)]
        found += deframer.feed(stream[at : at + size]) if at < len(stream) else []
        at += size
    assert found == messages
    assert deframer.between


def test_a_message_that_is_not_whole_is_known_of() -> None:
    deframer = Deframer(100)
    assert deframer.feed(frame(b"abc")[:-1]) == []
    assert not deframer.between


def test_a_message_over_the_limit_is_refused_by_its_length() -> None:
    with pytest.raises(PayloadTooLarge, match="101 bytes, 100 are allowed"):
        Deframer(100).feed(b"\0\0\0\0\x65")


def test_a_body_is_one_message() -> None:
    assert only_message(frame(b"abc", compressed=True)) is True
    for body in (b"", b"\0\0\0\0", frame(b"a") + frame(b"b"), frame(b"abc")[:-1], b"\2\0\0\0\0"):
        with pytest.raises(InvalidRequest):
            only_message(body)
