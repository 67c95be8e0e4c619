import pytest

from kfunc.errors import MethodNotAllowed, Unavailable
from kfunc.http.wire import end_to_end, error_body, error_headers, forwarded_headers, header_lines, status_line

FORWARDED = {
    "plain": ([(b"a", b"1"), (b"a", b"2")], [(b"a", b"1"), (b"a", b"2")]),
    "framing": ([(b"content-length", b"1"), (b"expect", b"100-continue"), (b"a", b"1")], [(b"a", b"1")]),
    "hop by hop": ([(b"te", b"x"), (b"upgrade", b"x"), (b"keep-alive", b"1"), (b"a", b"1")], [(b"a", b"1")]),
    "named by Connection": ([(b"connection", b"close, A"), (b"a", b"1"), (b"b", b"2")], [(b"b", b"2")]),
}


@pytest.mark.parametrize(("headers", "expected"), FORWARDED.values(), ids=FORWARDED.keys())
def test_only_fields_of_the_message_are_forwarded(
    headers: list[tuple[bytes, bytes]], expected: list[tuple[bytes, bytes]]
) -> None:
    assert forwarded_headers(headers) == expected


def test_end_to_end_fields_keep_their_framing() -> None:
    assert end_to_end([(b"connection", b"x"), (b"content-length", b"1")]) == [(b"content-length", b"1")]


def test_a_status_without_a_phrase_has_a_line_too() -> None:
    assert (status_line(404), status_line(799)) == (b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.1 799 \r\n")


def test_fields_become_lines() -> None:
    assert header_lines([(b"a", b"1"), (b"b", b"")]) == b"a: 1\r\nb: \r\n"


def test_errors_say_when_to_come_again_and_what_is_allowed() -> None:
    assert error_headers(Unavailable("later")) == [(b"retry-after", b"1")]
    assert error_headers(MethodNotAllowed("no", "GET, HEAD")) == [(b"allow", b"GET, HEAD")]
    assert error_body('say "no"') == b'{"error":"say \\"no\\""}'
