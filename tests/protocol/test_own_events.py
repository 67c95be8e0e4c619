"""Whether an event that comes is one that the function itself has made."""

import json

import pytest

from kfunc.protocol.own_events import comes_back, source_of

SOURCE = source_of("default", "iris")
LEAST: dict[str, object] = {"specversion": "1.0", "id": "7", "source": SOURCE, "type": "t"}
STRUCTURED = {b"content-type": b"application/cloudevents+json; charset=utf-8"}
BATCHED = {b"content-type": b"Application/CloudEvents-Batch+json"}
OTHER: dict[str, object] = {**LEAST, "source": "/garden", "data": {"says": SOURCE}}


def encoded(*events: dict[str, object]) -> bytes:
    return json.dumps(events if len(events) > 1 else events[0]).encode()


CASES = {
    "binary": ({b"ce-source": SOURCE.encode()}, b"", True),
    "binary, another's": ({b"ce-source": b"/garden"}, encoded(LEAST), False),
    "binary, of a function whose name begins alike": ({b"ce-source": SOURCE.encode() + b"-2"}, b"", False),
    "structured": (STRUCTURED, encoded(LEAST), True),
    "structured, another's that speaks of it": (STRUCTURED, encoded(OTHER), False),
    "structured, of which only the beginning is here": (STRUCTURED, encoded({**LEAST, "data": "x" * 99})[:-50], True),
    "structured, with slashes as escapes": (STRUCTURED, encoded(LEAST).replace(b"/", b"\\/"), True),
    "a batch with one": (BATCHED, encoded(OTHER, LEAST), True),
    "a batch without": (BATCHED, encoded(OTHER, OTHER), False),
    "no event": ({b"content-type": b"application/json"}, encoded(LEAST), False),
}


@pytest.mark.parametrize(("headers", "body", "own"), CASES.values(), ids=CASES)
def test_an_own_event_is_known_by_its_source(headers: dict[bytes, bytes], body: bytes, own: bool) -> None:
    assert comes_back(SOURCE, headers, body) is own


def test_who_makes_no_events_gets_none_back() -> None:
    assert not comes_back("", STRUCTURED, encoded(LEAST))
