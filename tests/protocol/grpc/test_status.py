"""Codes, messages and deadlines in headers."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc import errors
from kfunc.protocol.grpc import status

ERRORS = [
    (errors.InvalidRequest("x"), "INVALID_ARGUMENT"),
    (errors.NotFound("x"), "NOT_FOUND"),
    (errors.MethodNotAllowed("x", "GET"), "UNIMPLEMENTED"),
    (errors.RequestTimeout("x"), "DEADLINE_EXCEEDED"),
    (errors.PayloadTooLarge("x"), "RESOURCE_EXHAUSTED"),
    (errors.UnsupportedMediaType("x"), "INVALID_ARGUMENT"),
    (errors.HeadersTooLarge("x"), "RESOURCE_EXHAUSTED"),
    (errors.ModelFailed("x"), "INTERNAL"),
    (errors.Unsupported("x"), "UNIMPLEMENTED"),
    (errors.BadGateway("x"), "UNAVAILABLE"),
    (errors.Unavailable("x"), "UNAVAILABLE"),
    (errors.WorkerDied("x"), "UNAVAILABLE"),
    (errors.DeadlineExceeded("x"), "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize(("error", "name"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_each_error_has_its_code(error: errors.KfuncError, name: str) -> None:
    code = dict(status.failure(error))[b"grpc-status"]
    assert status.NAMES[int(code)] == name


def test_only_what_has_a_retry_after_may_be_sent_again() -> None:
    pushback = b"grpc-retry-pushback-ms"
    assert dict(status.failure(errors.Unavailable("x")))[pushback] == b"1000"
    assert dict(status.failure(errors.WorkerDied("x")))[pushback] == b"-1"
    assert pushback not in dict(status.failure(errors.InvalidRequest("x")))


@given(st.text())
def test_a_message_is_printable_and_comes_back(message: str) -> None:
    message = message.encode("utf-8", "replace").decode()[: status.MAX_MESSAGE]
    encoded = status.encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote(encoded.decode()) == message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1S", 1.0), (b"200m", 0.2), (b"3H", 10800.0), (b"1M", 60.0), (b"5u", 5e-6), (b"99999999n", 0.099999999)],
)
def test_a_deadline_is_read(value: bytes, seconds: float) -> None:
    assert status.decode_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"-1S", b"123456789S", b"1s", b"1.5S"])
def test_what_is_no_deadline_is_refused(value: bytes) -> None:
    with pytest.raises(errors.InvalidRequest, match="grpc-timeout"):
        status.decode_timeout(value)
