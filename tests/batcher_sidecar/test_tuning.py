"""`max_batch_size: auto` finds the size with which 99 % of answers keep to their time."""

from random import Random

import pytest

from kfunc.batcher_sidecar.policy import Bounds, Policy
from kfunc.batcher_sidecar.queues import Batch
from kfunc.batcher_sidecar.service_times import ServiceTimes
from kfunc.batcher_sidecar.tuning import FIRST_ROWS, MOST_ROWS, Tuner
from tests.batcher_sidecar.simulation import Simulation


@pytest.mark.parametrize(("fixed_s", "row_s"), [(0.005, 0.0001), (0.0, 0.002), (0.01, 0.0)])
def test_the_parts_of_a_calls_time_are_told_apart(fixed_s: float, row_s: float) -> None:
    times = ServiceTimes()
    for number in range(200):
        rows = 1 + number * 7 % 32
        times.observe(rows, fixed_s + row_s * rows)
    assert times.predict(64) == pytest.approx(fixed_s + row_s * 64, rel=0.01)


def closed_loop(target_s: float, callers: int, in_flight: int = 1, at_once: int = 1) -> tuple[Simulation, Tuner]:
    """Callers who think for 10 ms, an upstream of 5 ms and 0.1 ms a row, after the tuner has had its time."""
    random = Random(2)
    simulation = Simulation(
        Bounds(max_rows=FIRST_ROWS, max_latency_s=0.002, max_in_flight=in_flight, max_queue=10_000),
        lambda rows: (0.005 + 0.0001 * rows) * (1 + 0.05 * random.random()),
        callers,
        lambda: 0.02 * random.random(),
        at_once,
    )
    tuner = Tuner(target_s)
    simulation.on_complete = tuner.answered
    simulation.run(5.0)
    simulation.run(15.0)
    return simulation, tuner


@pytest.mark.parametrize("target_s", [0.025, 0.04])
def test_the_time_is_kept_to_in_a_closed_loop(target_s: float) -> None:
    simulation, _ = closed_loop(target_s, 40)
    assert simulation.p99 <= target_s


@pytest.mark.parametrize("target_s", [0.025, 0.04])
def test_the_time_is_kept_to_with_several_batches_in_flight_at_a_server_that_makes_several_calls(target_s: float) -> None:
    simulation, tuner = closed_loop(target_s, 100, in_flight=4, at_once=4)
    assert simulation.p99 <= target_s
    assert tuner.rows > FIRST_ROWS


def test_batches_that_wait_for_each_other_upstream_grow_until_they_take_what_arrives() -> None:
    simulation, tuner = closed_loop(0.025, 400, in_flight=4)
    assert tuner.rows > 8 * FIRST_ROWS
    assert simulation.p99 <= 0.07  # of 400 callers with the first size: 0.54 s


def test_a_time_that_cannot_be_kept_to_makes_no_queue_without_end() -> None:
    simulation, tuner = closed_loop(0.008, 40)
    assert simulation.p99 <= 0.03
    assert tuner.rows > 4


def test_a_model_that_is_too_slow_for_the_time_gets_single_rows() -> None:
    tuner = Tuner(0.01)
    for rows in (1, 2, 3, 4) * 50:
        tuner.observe(rows, 0.02 + 0.001 * rows)
    assert tuner.rows == 1


def test_it_grows_no_faster_than_what_was_measured_and_no_further_than_it_may() -> None:
    tuner = Tuner(60.0)
    assert tuner.observe(FIRST_ROWS, 0.001) == 2 * FIRST_ROWS
    rows = FIRST_ROWS
    for _ in range(20):
        rows = tuner.observe(rows, 0.001 + rows * 1e-6)
    assert rows == MOST_ROWS


def test_after_a_long_overload_it_is_no_larger_than_it_may_and_comes_back() -> None:
    tuner = Tuner(0.05)
    for _ in range(10_000):
        tuner.observe(tuner.rows, 0.02, waiting=2000)
    assert tuner.rows == MOST_ROWS
    for _ in range(1000):
        tuner.observe(4, 0.02)
    assert tuner.rows < 16


def test_requests_that_cannot_be_merged_with_each_other_do_not_drive_the_size() -> None:
    policy: Policy[int] = Policy(Bounds(max_rows=FIRST_ROWS, max_in_flight_total=4))
    flow, tuner, now = policy.flow(), Tuner(0.06), 0.0
    for number in range(400):
        policy.add(flow, number, number, 1, now)
    for _ in range(200):
        batches = policy.take(now)
        now += 0.021
        for batch in batches:
            policy.complete(batch, now)
            tuner.answered(batch, now)
            policy.add(flow, batch.group.key, 0, 1, now)
    assert tuner.rows <= 2 * FIRST_ROWS


def answered(tuner: Tuner, rows: int, seconds: float, *, good: bool) -> None:
    policy: Policy[int] = Policy(Bounds(max_rows=1000))
    policy.add(policy.flow(), "group", 1, rows, 0.0)
    batch: Batch[int] = policy.take(0.0)[0]
    policy.complete(batch, seconds)
    tuner.answered(batch, seconds, good=good)


def test_a_refusal_that_is_quicker_than_the_model_tells_nothing_of_its_time() -> None:
    tuner = Tuner(0.1)
    for rows in [8, 16, 24] * 20:
        answered(tuner, rows, 0.02 + 0.001 * rows, good=True)
    found = tuner.rows
    for _ in range(100):
        answered(tuner, 24, 0.001, good=False)
    assert tuner.rows == found


def test_calls_that_fail_because_they_take_too_long_make_the_size_smaller() -> None:
    tuner = Tuner(0.1)
    for rows in [8, 16, 24] * 20:
        answered(tuner, rows, 0.001 * rows, good=True)
    for _ in range(30):
        answered(tuner, tuner.rows, 1.0, good=False)
    assert tuner.rows == 1
