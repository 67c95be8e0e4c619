"""What is sent again, and when."""

import pytest

from kfunc.client.errors import ClientError, ConnectionLost, InvalidAnswer, InvalidCall, NotConnected, TimedOut
from kfunc.client.retries import Retries, retry_after
from kfunc.client.wire import Answer, Request


def answered(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def pause(method: str, outcome: Answer | ClientError, tries: int = 1, most: int = 3, chance: float = 1.0) -> float | None:
    return Retries(most, lambda: chance).pause(Request(method, "/", {}), tries, outcome)


@pytest.mark.parametrize(
    ("outcome", "get", "post"),
    [
        (NotConnected("no"), True, True),
        (answered(503, retry_after="0"), True, True),
        (answered(503), True, False),
        (answered(502), True, False),
        (answered(504), True, False),
        (answered(503, retry_after="Tue, 24 Nov 2026 00:00:00 GMT"), True, False),
        (answered(500), False, False),
        (answered(429, retry_after="1"), False, False),
        (answered(400), False, False),
        (answered(200), False, False),
        (ConnectionLost("gone"), True, False),
        (TimedOut("late"), False, False),
        (InvalidAnswer("odd"), False, False),
        (InvalidCall("wrong"), False, False),
    ],
)
def test_only_what_cannot_have_run_is_sent_again_and_gets(outcome: Answer | ClientError, get: bool, post: bool) -> None:
    assert (pause("GET", outcome) is not None, pause("POST", outcome) is not None) == (get, post)


def test_the_pauses_double_up_to_a_bound() -> None:
    pauses = [pause("GET", NotConnected("no"), tries, most=9) for tries in range(1, 9)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_half_of_a_pause_is_by_chance() -> None:
    assert pause("GET", NotConnected("no"), chance=0.0) == 0.05


def test_what_the_server_asks_to_wait_comes_first() -> None:
    assert pause("POST", answered(503, retry_after="2")) == pytest.approx(2.1)


@pytest.mark.parametrize(("tries", "most", "again"), [(3, 3, True), (4, 3, False), (1, 0, False)])
def test_the_number_of_tries_is_bounded(tries: int, most: int, again: bool) -> None:
    assert (pause("GET", NotConnected("no"), tries, most) is not None) is again


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5.0), (" 5 ", 5.0), ("", None), ("-1", None), ("1e3", None), ("9" * 40, None), ("٣", None)]
)
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(answered(503, retry_after=value)) == seconds
