"""What is counted of ended exchanges: requests, not probes."""

import re

import pytest

from kfunc.http.exchange import Exchange
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

INFER = b"/v2/models/iris/infer"


class Nobody:
    """A transmitter that nothing is written to."""


def recorded(method: bytes, target: bytes, status: int, *, inference: bool = False) -> dict[str, int]:
    """The counts by code, and of durations, after one exchange."""
    metrics = Metrics("x")
    exchange = Exchange(Nobody(), method, target, [], {}, True)  # type: ignore[arg-type]
    exchange.status = status
    RequestRecorder(metrics, access_log=False).record(exchange, inference)
    text = metrics.exposition()
    counts = {code: int(count) for code, count in re.findall(r'requests_total\{.*?code="(\d+)"\} (\d+)', text)}
    return counts | {"durations": int(re.findall(r"duration_seconds_count\{.*?\} (\d+)", text)[0])}


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    "target", [b"/v2/health/live", b"/v2/health/ready", b"/v2/models/iris/ready", b"/v2/models/iris/versions/1/ready"]
)
def test_a_probe_is_not_counted(method: bytes, target: bytes, status: int) -> None:
    assert recorded(method, target, status) == {"durations": 0}


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"GET", b"/v2/models/iris"), (b"POST", b"/v2/health/ready"), (b"GET", b"/ready"), (b"GET", b"/v2/models/ready/x")],
)
def test_other_requests_are_counted_without_a_duration(method: bytes, target: bytes) -> None:
    assert recorded(method, target, 404) == {"404": 1, "durations": 0}


def test_an_inference_request_is_counted_with_its_duration() -> None:
    assert recorded(b"POST", INFER, 200, inference=True) == {"200": 1, "durations": 1}


def test_a_client_that_went_away_is_499() -> None:
    assert recorded(b"POST", INFER, 0, inference=True) == {"499": 1, "durations": 1}
