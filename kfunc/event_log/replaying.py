"""A logged request as it is sent again, and how its new answer compares with the logged one. Sans-IO."""

from collections import Counter
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.client.wire import Answer, Request
from kfunc.errors import KfuncError
from kfunc.event_log.pairing import Exchange
from kfunc.event_log.stored import Stored
from kfunc.http.coding import inflate
from kfunc.protocol.compare import Answered, Difference, compare
from kfunc.protocol.json_length import number_of

MAX_INFLATED = 256 * 1024 * 1024  # bytes
JSON_LENGTH = "inference-header-content-length"
EVENTS, EVENT_FIELD = "application/cloudevents", "ce-specversion"
NOT_SENT_AGAIN = frozenset(("host", "content-length", "connection", "transfer-encoding", "accept-encoding"))

SAME, DIFFERENT, UNCOMPARED, FAILED, SKIPPED = "same", "different", "uncompared", "failed", "skipped"


class Skipped(Exception):
    """Why a request cannot be sent again as it was."""


def request_of(event: Stored, timeout_s: float, endpoint: str = "") -> Request:
    """The logged request, for `endpoint` or the path that it was sent to. Raises Skipped."""
    if event.attributes.get("redacted"):
        raise Skipped("values of its body are redacted")
    if not event.is_whole:
        raise Skipped("not all of its body was logged")
    path = endpoint or event.endpoint or _guessed(event)
    if not path:
        raise Skipped("its path was not logged: give --endpoint")
    headers = {name: value for name, value in _logged_headers(event).items() if name not in NOT_SENT_AGAIN}
    headers |= {"content-type": event.content_type, "x-request-id": event.correlation}
    if path.partition("?")[0] == "/" and not event.content_type.lower().startswith(EVENTS) and EVENT_FIELD not in headers:
        raise Skipped("it was a CloudEvent whose ce-… fields were not logged (logger.headers)")
    if event.json_length:
        headers[JSON_LENGTH] = str(event.json_length)
    if coding := event.attributes.get("contentencoding"):
        headers["content-encoding"] = str(coding)
    return Request("POST", path, headers, event.data, timeout_s)


def _guessed(event: Stored) -> str:
    """KServe's events have no path: V1's by its body."""
    if event.model and event.data.lstrip().startswith(b"{") and b'"instances"' in event.data:
        return f"/v1/models/{event.model}:predict"
    return f"/v2/models/{event.model}/infer" if event.model and b'"inputs"' in event.data else ""


def _logged_headers(event: Stored) -> dict[str, str]:
    """The header fields that were logged (`logger.headers`)."""
    try:
        fields = msgspec.json.decode(str(event.attributes.get("headers", "{}")), type=dict[str, str])
    except msgspec.MsgspecError:
        return {}
    return {name.lower(): value for name, value in fields.items()}


class Outcome(Struct):
    """What came of one request: a verdict, why, and where the answers differ. Times in ms, 0 for none."""

    correlation: str
    endpoint: str
    verdict: str
    reason: str = ""
    differences: list[Difference] = []
    recorded_ms: float = 0.0
    answered_ms: float = 0.0


def judge(exchange: Exchange, answer: Answer, seconds: float, *, tolerance: float) -> Outcome:
    """Compare the new answer with the logged one."""
    request, response = exchange.request, exchange.response
    outcome = Outcome(request.correlation, request.endpoint, UNCOMPARED, answered_ms=seconds * 1000)
    if response is None:
        outcome.reason = "its answer was not logged"
        return outcome
    outcome.recorded_ms = float(response.attributes.get("durationus", 0)) / 1000
    if not response.is_whole:
        outcome.reason = "not all of its logged answer is there"
        return outcome
    try:
        recorded = answered(
            response.status, response.data, str(response.attributes.get("contentencoding", "")), response.json_length
        )
        new = answered(answer.status, answer.body, answer.headers.get("content-encoding", ""), _length(answer))
    except KfuncError as error:
        outcome.reason = error.message
        return outcome
    outcome.differences = compare(recorded, new, tolerance)
    outcome.verdict = DIFFERENT if outcome.differences else SAME
    return outcome


def answered(status: int, body: bytes, coding: str, json_length: int) -> Answered:
    """An answer without its content codings. Raises KfuncError."""
    return Answered(status, inflate(body, coding.encode(), MAX_INFLATED) if coding else body, json_length)


def _length(answer: Answer) -> int:
    return number_of(answer.headers.get(JSON_LENGTH, "").encode()) or 0


class Summary:
    """Counts outcomes."""

    def __init__(self) -> None:
        self._verdicts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._places: Counter[str] = Counter()
        self._times: dict[str, list[float]] = {"recorded_ms": [], "answered_ms": []}

    def add(self, outcome: Outcome) -> None:
        """Enter an outcome."""
        self._verdicts[outcome.verdict] += 1
        if outcome.reason:
            self._reasons[f"{outcome.verdict}: {outcome.reason}"] += 1
        self._places.update({difference.path.partition("[")[0] for difference in outcome.differences})
        for name, times in self._times.items():
            if (value := getattr(outcome, name)) > 0:
                times.append(value)

    def __getitem__(self, verdict: str) -> int:
        return self._verdicts[verdict]

    def document(self) -> dict[str, Any]:
        """The counts, where the differences are, and the median of both answers' times."""
        counts = {verdict: self._verdicts[verdict] for verdict in (SAME, DIFFERENT, UNCOMPARED, FAILED, SKIPPED)}
        medians = {f"p50_{name}": round(sorted(times)[len(times) // 2], 3) for name, times in self._times.items() if times}
        return counts | medians | {"reasons": dict(self._reasons), "places": dict(self._places.most_common(20))}
