import signal

import pytest

from kfunc.cli.restarts import Restarts, describe


def delays(lives: list[float], status: int = 1) -> list[float | None]:
    """The pauses after each of a number of lives (seconds), one after the other."""
    restarts, now, found = Restarts(), 1000.0, []
    for life in lives:
        restarts.started(now)
        now += life
        due = restarts.ended(now, status)
        found.append(None if due is None else round(due - now, 3))
        now = due if due is not None else now
    return found


def test_the_first_restart_comes_after_a_tenth_of_a_second() -> None:
    assert delays([1.0]) == [0.1]


def test_each_quick_death_doubles_the_pause_up_to_ten_seconds() -> None:
    assert delays([0.0] * 9) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@pytest.mark.parametrize(("life", "pause"), [(29.9, 0.4), (30.0, 0.1)])
def test_a_life_of_thirty_seconds_makes_the_pause_short_again(life: float, pause: float) -> None:
    assert delays([0.0, 0.0, life])[-1] == pause


@pytest.mark.parametrize("status", [0, 1, 3, 137, -signal.SIGKILL, -signal.SIGSEGV])
def test_any_end_but_a_startup_error_leads_to_a_restart(status: int) -> None:
    assert delays([1.0], status) == [0.1]


def test_a_process_that_cannot_start_is_not_started_again() -> None:
    assert delays([1.0], status=2) == [None]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (1, "exit status 1"),
        (137, "exit status 137, SIGKILL"),
        (-signal.SIGKILL, "signal SIGKILL"),
        (-signal.SIGSEGV, "signal SIGSEGV"),
        (-40, "signal 40"),
        (255, "exit status 255, 127"),
    ],
)
def test_the_end_of_a_process_is_named(status: int, words: str) -> None:
    assert describe(status) == words
