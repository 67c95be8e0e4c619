"""Events as they are read back, under both kinds of names."""

import json

import pytest

from kfunc.errors import InvalidRequest
from kfunc.event_log.stored import Stored, read_line
from kfunc.logger_sidecar.record import Payload
from kfunc.protocol.incoming_events import Event
from tests.event_log.logs import call, lines, stored


def test_both_events_of_a_call_tell_what_it_was_and_what_came_of_it() -> None:
    request, response = stored(call(7, status=404))
    assert (request.kind, request.model, request.endpoint) == ("request", "iris", "/v1/models/iris:predict")
    assert (response.kind, response.status, response.data) == ("response", 404, b'{"predictions":[7]}')
    assert request.correlation == response.correlation == "call-7"
    assert request.call_number == response.call_number == ("run", 7)


def test_kserves_events_are_told_apart_although_they_share_their_id() -> None:
    request, response = stored(call(3), compat="kserve")
    assert request.id == response.id
    assert request.identity != response.identity
    assert (request.kind, response.kind) == ("request", "response")
    assert (request.model, request.endpoint) == ("iris", "")


@pytest.mark.parametrize(
    ("payload", "whole"),
    [
        (Payload(b"[1]", 3), True),
        (Payload(b"", 0), True),
        (Payload(b"[1", 9), False),
        (Payload(b"", 9), False),
    ],
)
def test_whether_all_of_a_body_was_logged(payload: Payload, whole: bool) -> None:
    assert stored(call(request=payload))[0].is_whole is whole


def test_an_event_without_its_line_is_written_as_one() -> None:
    (line, _) = lines(call())
    event = read_line(line)
    again = Stored(Event(event.attributes, event.data))
    assert json.loads(again.text) == json.loads(line)
    assert json.loads(Stored(Event(event.attributes, b"")).text).get("data") is None


@pytest.mark.parametrize(
    "line", [b"", b"{", b"{}", b"[]", b'{"specversion":"1.0","id":"a","source":"s","type":"t","statuscode":"x"}']
)
def test_what_is_no_event_is_an_error_that_says_why(line: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_line(line)
