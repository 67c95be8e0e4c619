"""Events for a reader: one line each, or all of one."""

import pytest

from kfunc.errors import InvalidRequest
from kfunc.event_log.showing import show, show_full
from kfunc.event_log.stored import read_line
from kfunc.logger_sidecar.record import Payload
from tests.event_log.logs import call, stored

BINARY = Payload(b'{"inputs":[]}\x00\x01\x02', 16, b"application/octet-stream", b"", b"13")


def test_a_line_tells_the_beginning_of_a_long_body_and_that_it_was_cut() -> None:
    long = Payload(b"[" + b"1," * 500, 5000, b"text/plain")
    (line, _) = [show(event) for event in stored(call(request=long))]
    assert "5000 B truncated  call-0  [1,1,1" in line
    assert line.endswith("…")
    assert "[1,1" not in show(stored(call(request=long))[0], body=False)


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in show(stored(call(request=Payload(b"\x1b[2J", 4, b"text/plain")))[0])


def test_a_time_that_is_no_number_makes_it_no_event() -> None:
    with pytest.raises(InvalidRequest, match="are numbers"):
        read_line(b'{"specversion":"1.0","id":"a","source":"s","type":"x.response","durationus":"abc"}')


@pytest.mark.parametrize("compat", ["none", "kserve"])
def test_a_line_of_kserves_event_tells_as_much_as_there_is(compat: str) -> None:
    request, response = stored(call(status=404), compat=compat)
    assert "iris" in show(request)
    assert "404 in 1.5 ms" in show(response)


def test_all_of_an_event_are_its_attributes_and_its_body() -> None:
    lines = show_full(stored(call(7))[0]).splitlines()
    assert "correlationid    call-7" in lines
    assert lines[-1] == "}"
    assert '  "instances": [' in lines


@pytest.mark.parametrize(
    ("payload", "end"),
    [
        (BINARY, "and 3 bytes of binary tensors"),
        (Payload(b"\x00\xff", 2, b"image/png"), "2 bytes b'\\x00\\xff'"),
        (Payload(b"plain", 5, b"text/plain"), "plain"),
    ],
)
def test_a_body_that_is_not_json_is_told_as_what_it_is(payload: Payload, end: str) -> None:
    assert show_full(stored(call(request=payload))[0]).rstrip().endswith(end)
