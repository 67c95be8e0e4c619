"""Errors in the server's words, compression, and the time that is left: flows without any transport."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from kfunc.client.errors import (
    ClientError,
    InvalidAnswer,
    InvalidCall,
    NotConnected,
    NotFound,
    Refused,
    ServerFailed,
    TimedOut,
    Unavailable,
)
from kfunc.client.retries import Retries
from kfunc.client.sending import Sending, read_json
from kfunc.client.wire import Answer, Flow, Pause, Request


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sending(clock: Clock | None = None, retries: int = 0, timeout_s: float = 10.0, **more: Any) -> Sending:
    settings = {"headers": {}, "compression": None, **more}
    return Sending(timeout_s, retries=Retries(retries, lambda: 1.0), clock=clock or Clock(), **settings)


def run(flow: Flow[Any], answer: Callable[[Request], Answer], clock: Clock | None = None) -> tuple[Any, list[Request | Pause]]:
    """What a flow returns, and its steps; a pause passes the clock's time."""
    steps: list[Request | Pause] = []
    try:
        step = next(flow)
        while True:
            steps.append(step)
            if isinstance(step, Pause):
                if clock is not None:
                    clock.now += step.seconds
                step = flow.send(None)
                continue
            try:
                given = answer(step)
            except ClientError as error:
                step = flow.throw(error)
            else:
                step = flow.send(given)
    except StopIteration as end:
        return end.value, steps


def post(answer: Answer, **settings: Any) -> Any:
    return run(sending(**settings).post("/v2/models/m/infer", b"{}", "application/json"), lambda _: answer)[0]


@pytest.mark.parametrize(
    ("status", "kind", "may_have_run"),
    [
        (301, Refused, False),
        (400, Refused, False),
        (404, NotFound, False),
        (413, Refused, False),
        (429, Refused, False),
        (500, ServerFailed, True),
        (501, ServerFailed, True),
        (502, ServerFailed, True),
        (503, Unavailable, False),
        (504, ServerFailed, True),
    ],
)
def test_a_status_is_an_error_of_its_kind(status: int, kind: type[ClientError], may_have_run: bool) -> None:
    with pytest.raises(kind) as caught:
        post(Answer(status, {"x-request-id": "r1"}, b'{"error": "why"}', "Reason"))
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.request_id, error.may_have_run) == (status, "r1", may_have_run)
    assert error.message.startswith(f"{status} Reason: why")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "shape"}', "400 Bad: shape"),
        (b"<html>no</html>", "400 Bad: <html>no</html>"),
        (b'{"detail": 1}', '400 Bad: {"detail":1}'),
        (b'{"error": {"a": 1}}', '400 Bad: {"error":{"a":1}}'),
        (b"", "400 Bad"),
        (b"\xff\xfe", "400 Bad: \ufffd\ufffd"),
        (b"[" * 100_000, None),
        (b"x" * 100_000, "400 Bad: " + "x" * 1000),
    ],
)
def test_the_server_s_own_words_are_told(body: bytes, words: str | None) -> None:
    with pytest.raises(Refused) as caught:
        post(Answer(400, {}, body, "Bad"))
    assert len(caught.value.message) < 1100
    if words is not None:
        assert caught.value.message == words


def test_a_request_has_the_time_that_is_left() -> None:
    clock = Clock()

    left: list[float] = []

    def slowly(request: Request) -> Answer:
        left.append(round(request.timeout_s, 1))
        clock.now += 4
        return Answer(503, {"retry-after": "0"}, b"")

    flow = sending(clock, retries=9).post("/", b"", "application/json")
    with pytest.raises(Unavailable):
        run(flow, slowly, clock)
    assert left == [10.0, 5.9, 1.7]


def test_a_call_of_no_time_is_timed_out_at_once() -> None:
    flow = sending().post("/", b"", "application/json", timeout_s=0.0)
    with pytest.raises(TimedOut):
        run(flow, lambda _: Answer(200, {}, b""))


def test_a_failure_is_raised_after_the_last_try() -> None:
    clock = Clock()
    tries = []

    def refuse(request: Request) -> Answer:
        tries.append(request)
        raise NotConnected("nobody")

    with pytest.raises(NotConnected):
        run(sending(clock, retries=2).post("/", b"", "application/json"), refuse, clock)
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("coding", "inflate"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("zstd", lambda body: zstandard.ZstdDecompressor().decompress(body)),
    ],
)
def test_a_large_body_is_compressed_and_the_answer_inflated(coding: str, inflate: Callable[[bytes], bytes]) -> None:
    from kfunc.http.coding import deflate

    body = json.dumps([1] * 1000).encode()
    answer, steps = run(
        sending(compression=coding).post("/", body, "application/json"),
        lambda _: Answer(200, {"content-encoding": coding}, deflate(b'{"a": 1}', coding.encode())),
    )
    request = steps[0]
    assert isinstance(request, Request)
    assert (request.headers["content-encoding"], request.headers["accept-encoding"]) == (coding, coding)
    assert inflate(request.body) == body
    assert answer.body == b'{"a": 1}'


def test_a_small_body_is_not_compressed() -> None:
    _, steps = run(sending(compression="gzip").post("/", b"{}", "application/json"), lambda _: Answer(200, {}, b""))
    assert isinstance(steps[0], Request)
    assert steps[0].body == b"{}"
    assert "content-encoding" not in steps[0].headers


def test_without_compression_a_plain_answer_is_asked_for() -> None:
    _, steps = run(sending().get("/v2"), lambda _: Answer(200, {}, b""))
    assert isinstance(steps[0], Request)
    assert steps[0].headers["accept-encoding"] == "identity"


def test_an_answer_that_cannot_be_inflated_is_invalid() -> None:
    with pytest.raises(InvalidAnswer, match="gzip"):
        post(Answer(200, {"content-encoding": "gzip"}, b"not gzip"))


@pytest.mark.parametrize("settings", [{"timeout_s": 0}, {"timeout_s": -1.0}, {"compression": "br"}, {"headers": {"a": "\n"}}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidCall):
        sending(**settings)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"nope", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b'{"a": 1}', "is not as the protocol"),
    ],
)
def test_what_is_not_the_protocol_s_json_is_an_invalid_answer(body: bytes, words: str) -> None:
    with pytest.raises(InvalidAnswer, match=words):
        read_json(Answer(200, {}, body), dict[str, str])
