"""What is counted of ended exchanges: requests, not probes."""

import asyncio
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


@pytest.mark.parametrize(("share", "lines"), [(1.0, 40), (0.25, 10), (0.1, 4)])
def test_a_share_of_the_requests_gets_a_line_the_first_among_them(
    capfdbinary: pytest.CaptureFixture[bytes], share: float, lines: int
) -> None:
    assert len(access_lines([200] * 40, share, capfdbinary)) == lines
    assert len(access_lines([200], share, capfdbinary)) == 1


def test_each_failure_gets_a_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    lines = access_lines([200, *[503] * 5, *[404] * 20], 0.01, capfdbinary)
    assert [line.split()[2] for line in lines] == [b"200", *[b"503"] * 5]


def access_lines(statuses: list[int], share: float, output: pytest.CaptureFixture[bytes]) -> list[bytes]:
    """What is written of requests that ended so."""

    async def main() -> None:
        recorder = RequestRecorder(Metrics("x"), access_log=share)
        for status in statuses:
            exchange = Exchange(Nobody(), b"POST", INFER, [], {}, True)  # type: ignore[arg-type]
            exchange.status = status
            recorder.record(exchange, True)
        recorder.flush()

    asyncio.run(main())
    return output.readouterr().out.splitlines()
