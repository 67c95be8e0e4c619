"""Which events are meant."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kfunc.event_log.choosing import choose, moment, statuses
from tests.event_log.logs import call, stored

NOW = datetime(2026, 11, 25, 9, 0, 5, tzinfo=UTC)
EVENTS = stored(call(0), call(1, status=404), call(2, status=503, target=b"/v2/models/other/infer"), call(3))


def ids(**options: Any) -> list[str]:
    chosen = choose(**options, now=NOW)
    return [f"{event.correlation[-1]}{event.kind[2]}" for event in EVENTS if chosen(event)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["0q", "0s", "1q", "1s", "2q", "2s", "3q", "3s"]),
        ({"kind": "request"}, ["0q", "1q", "2q", "3q"]),
        ({"kind": "io.kfunc.inference.response"}, ["0s", "1s", "2s", "3s"]),
        ({"model": "other"}, ["2q", "2s"]),
        ({"model": "i*"}, ["0q", "0s", "1q", "1s", "3q", "3s"]),
        ({"status": "404"}, ["1s"]),
        ({"status": "5xx"}, ["2s"]),
        ({"status": "400-599"}, ["1s", "2s"]),
        ({"identity": "call-1"}, ["1q", "1s"]),
        ({"identity": "run-2"}, ["1q"]),
        ({"since": "3s"}, ["2q", "2s", "3q", "3s"]),
        ({"until": "2026-11-25T09:00:01Z"}, ["0q", "0s"]),
        ({"since": "2026-11-25T10:00:01+01:00", "until": "3s"}, ["1q", "1s"]),
        ({"since": "2026-11-26"}, []),
        ({"kind": "response", "model": "iris", "status": "2xx"}, ["0s", "3s"]),
    ],
    ids=str,
)
def test_an_event_is_chosen_that_is_all_that_is_asked_for(options: dict[str, str], expected: list[str]) -> None:
    assert ids(**options) == expected


@pytest.mark.parametrize("text", ["", "6xx", "40", "400-", "ok", "xx"])
def test_what_is_no_status_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="write 404, 5xx or 400-499"):
        statuses(text)


@pytest.mark.parametrize("text", ["yesterday", "5 minutes", "-1h", "25:00"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write 2026-11-25T09:30:00Z"):
        moment(text, NOW)
