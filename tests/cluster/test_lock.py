"""One command at a time changes a function."""

import time
from datetime import datetime

import pytest

from kfunc.cluster.connection import Cluster
from kfunc.cluster.lock import LEASE_S, RENEW_S, Lock, Locked
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.cluster.conftest import cluster as cluster

pytestmark = pytest.mark.integration


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lock(cluster: Cluster, holder: str, clock: Clock) -> Lock:
    return Lock(cluster, "iris", "default", holder, clock)


def test_a_second_command_is_told_who_is_there_and_what_to_do(cluster: Cluster, clock: Clock) -> None:
    with (
        lock(cluster, "kfunc deploy (ann)", clock),
        pytest.raises(Locked, match=r"kfunc deploy \(ann\) is changing iris: wait until it has ended"),
        lock(cluster, "bob", clock),
    ):
        pass


def test_after_the_first_has_ended_there_is_nothing_in_the_way(cluster: Cluster, clock: Clock) -> None:
    for holder in ("ann", "bob", "ann"):
        with lock(cluster, holder, clock):
            pass


def test_it_is_released_when_a_command_fails(cluster: Cluster, clock: Clock) -> None:
    with pytest.raises(RuntimeError), lock(cluster, "ann", clock):
        raise RuntimeError
    with lock(cluster, "bob", clock):
        pass


def test_of_a_command_that_was_killed_it_ends_by_itself(cluster: Cluster, clock: Clock) -> None:
    lock(cluster, "ann", clock).__enter__()
    clock.now += LEASE_S + 1
    with lock(cluster, "bob", clock):
        pass


def test_it_lasts_as_long_as_it_is_renewed(cluster: Cluster, clock: Clock) -> None:
    with lock(cluster, "ann", clock) as held:
        for _ in range(10):
            clock.now += RENEW_S
            held.renew()
        with pytest.raises(Locked), lock(cluster, "bob", clock):
            pass


def test_one_that_was_away_for_too_long_is_told_that_another_has_taken_over(cluster: Cluster, clock: Clock) -> None:
    late = lock(cluster, "ann", clock)
    late.__enter__()
    clock.now += LEASE_S + 1
    with lock(cluster, "bob", clock):
        with pytest.raises(Locked, match="bob is changing iris"):
            late.renew()
        late.__exit__(None, None, None)
        with pytest.raises(Locked, match="bob is changing iris"), lock(cluster, "cid", clock):
            pass


def test_its_times_are_the_clusters_whatever_the_machines_clock_says(cluster: Cluster, api: ApiServer) -> None:
    api.objects.ahead_s = 3600.0
    with Lock(cluster, "iris", "default", "ann"), pytest.raises(Locked), Lock(connect(), "iris", "default", "bob"):
        pass
    (lease,) = api.objects.of_kind("Lease")
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()
    assert renewed - time.time() == pytest.approx(3600.0, abs=2.0)


def test_another_function_has_a_lock_of_its_own(cluster: Cluster, clock: Clock, api: ApiServer) -> None:
    with lock(cluster, "ann", clock), Lock(cluster, "other", "default", "bob", clock):
        assert [each["metadata"]["name"] for each in api.objects.of_kind("Lease")] == ["iris-change", "other-change"]
