"""Callers who come back together are waited for where that gains more than it costs, and not otherwise."""

from random import Random
from statistics import mean

import pytest

from kfunc.batcher_sidecar.policy import Bounds
from tests.batcher_sidecar.simulation import Simulation

BOUNDS = Bounds(max_rows=64, max_in_flight=1)


def service_s(rows: int) -> float:
    return 0.005 + 0.0001 * rows


def settled(callers: int, think_s: float, bounds: Bounds = BOUNDS) -> Simulation:
    random = Random(1)
    simulation = Simulation(bounds, service_s, callers, lambda: think_s * (0.5 + random.random()))
    simulation.run(2.0)
    simulation.run(6.0)
    return simulation


def test_callers_who_come_back_at_once_are_all_in_the_next_batch() -> None:
    simulation = settled(64, 0.001)
    assert mean(simulation.sizes) > 60
    assert simulation.p99 < 2 * service_s(64)


def test_a_single_caller_is_never_kept_waiting() -> None:
    simulation = settled(1, 0.001)
    assert simulation.p99 == pytest.approx(service_s(1))


def test_callers_who_take_their_time_are_not_waited_for() -> None:
    simulation = settled(8, 0.2)
    assert simulation.p99 < 2.2 * service_s(2)


def test_without_a_latency_nobody_is_waited_for() -> None:
    simulation = settled(64, 0.001, Bounds(max_rows=64, max_in_flight=1, max_latency_s=0.0))
    assert not simulation.flow.hold_until
