"""One clock for all machines: the API's, from the dates of its answers."""

import time
from email.utils import formatdate

import pytest

from kfunc.cluster.clock import ServerClock
from kfunc.cluster.connection import Cluster
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.cluster.conftest import cluster as cluster


def answer(clock: ServerClock, at: float, ahead: float, took: float = 0.1) -> None:
    """An answer at this time of ours, from a server whose clock is ahead."""
    at += 1_800_000_000
    clock.heard(formatdate(int(at + took / 2 + ahead), usegmt=True), at, at + took)


def test_before_any_answer_the_own_clock_is_right() -> None:
    assert ServerClock().correction == 0.0


@pytest.mark.parametrize("ahead", [0.0, 0.4, -0.4])
def test_clocks_that_agree_are_left_alone(ahead: float) -> None:
    clock = ServerClock()
    for number in range(50):
        answer(clock, 1000.07 * number, ahead)
        assert abs(clock.correction) <= abs(ahead)


@pytest.mark.parametrize("ahead", [3600.0, -1860.0, 45.3])
def test_a_clock_that_is_off_is_corrected_ever_more_precisely(ahead: float) -> None:
    clock = ServerClock()
    answer(clock, 1000.9, ahead)
    assert clock.correction == pytest.approx(ahead, abs=1.1)
    for number in range(50):
        answer(clock, 1002.0 + 1.07 * number, ahead)
    assert clock.correction == pytest.approx(ahead, abs=0.15)


def test_a_clock_that_was_set_is_followed() -> None:
    clock = ServerClock()
    answer(clock, 1000.0, 0.0)
    answer(clock, 4600.0, -3600.0)
    assert clock.correction == pytest.approx(-3600.0, abs=1.1)


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Nov 2026 10:00:00 GMT"])
def test_what_is_no_date_tells_nothing(date: str) -> None:
    clock = ServerClock()
    clock.heard(date, 1.0, 2.0)
    assert (clock.is_set, clock.correction) == (False, 0.0)


@pytest.mark.integration
def test_the_cluster_tells_its_own_time(cluster: Cluster, api: ApiServer) -> None:
    api.objects.ahead_s = 3600.0
    assert cluster.now() - time.time() == pytest.approx(3600.0, abs=1.1)
