"""Where calls run: measured times decide, and what holds the interpreter's lock is found out."""

import asyncio
import ctypes
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kfunc.errors import DeadlineExceeded
from kfunc.handlers.execution import GROWTH, LOOP_LIMIT_S, SLOW_RUNS, STALL_S, Execution

SIZE = 16
INPUTS: dict[str, Any] = {"x": np.zeros(SIZE)}
SLOW_S = 2 * LOOP_LIMIT_S
Make = Callable[..., Execution]


class Surroundings:
    headers: dict[bytes, bytes] = {}
    deadline = queue_s = compute_s = compute_at = 0.0

    def __init__(self, cancelled: bool = False) -> None:
        self.cancelled = cancelled


class Model:
    """Takes as long as it is told, in Python's own time or with the interpreter's lock held."""

    def __init__(self) -> None:
        self.duration_s = 0.0
        self.holds_gil = False
        self.calls = 0
        self.preemptions = 0

    def __call__(self, inputs: Any) -> Any:
        self.calls += 1
        if self.duration_s and self.holds_gil:
            ctypes.PyDLL(None).usleep(int(self.duration_s * 1e6))
        elif self.duration_s:
            time.sleep(self.duration_s)
        return inputs


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def make(model: Model) -> Iterator[Make]:
    made: list[Executor] = []

    def executor() -> Executor:
        made.append(ThreadPoolExecutor(1))
        return made[-1]

    def preemptions() -> int:
        return model.preemptions

    yield lambda mode="auto", on_gil_held=None, alone=False: Execution(
        model, mode, executor, on_gil_held, alone=alone, count_preemptions=preemptions
    )
    for each in made:
        each.shutdown()


def in_thread(execution: Execution, calls: int = 1, timeout_s: float = 5.0, cancelled: bool = False) -> None:
    async def main() -> None:
        for _ in range(calls):
            await execution.run_in_thread(INPUTS, SIZE, timeout_s, Surroundings(cancelled))

    asyncio.run(main())


@pytest.fixture
def on_loop(make: Make) -> Execution:
    """An execution whose calls have been fast."""
    execution = make()
    while execution.loop_size < 0:  # the machine may interrupt a call
        in_thread(execution)
    return execution


def test_nothing_runs_on_the_loop_before_it_has_been_measured(make: Make) -> None:
    assert make().loop_size < 0


def test_a_fast_call_goes_to_the_loop_up_to_a_few_times_its_size(on_loop: Execution) -> None:
    assert on_loop.loop_size == GROWTH * SIZE


def test_a_slow_call_stays_in_threads(make: Make, model: Model) -> None:
    execution = make()
    model.duration_s = SLOW_S
    in_thread(execution, calls=3)
    assert execution.loop_size < 0


def test_slow_calls_leave_the_loop(on_loop: Execution, model: Model) -> None:
    model.duration_s = SLOW_S
    for _ in range(SLOW_RUNS):
        on_loop.run(INPUTS, SIZE, Surroundings())
    assert on_loop.loop_size == SIZE // 2


def test_one_slow_call_may_be_the_machines_fault(on_loop: Execution, model: Model) -> None:
    for duration_s in (SLOW_S, SLOW_S, 0.0, SLOW_S, SLOW_S):
        model.duration_s = duration_s
        on_loop.run(INPUTS, SIZE, Surroundings())
    assert on_loop.loop_size == GROWTH * SIZE


def test_a_stall_leaves_the_loop_at_once(on_loop: Execution, model: Model) -> None:
    model.duration_s = STALL_S * 1.2
    on_loop.run(INPUTS, SIZE, Surroundings())
    assert on_loop.loop_size == SIZE // 2


def test_a_stall_while_another_had_the_processor_is_one_slow_call(on_loop: Execution, model: Model) -> None:
    model.duration_s = STALL_S * 1.2
    model.preemptions += 1
    on_loop.run(INPUTS, SIZE, Surroundings())
    assert on_loop.loop_size == GROWTH * SIZE
    on_loop.run(INPUTS, SIZE, Surroundings())
    assert on_loop.loop_size == SIZE // 2


def test_who_has_left_the_loop_comes_back_only_after_many_fast_calls(on_loop: Execution, model: Model) -> None:
    model.duration_s = STALL_S * 1.2
    on_loop.run(INPUTS, SIZE, Surroundings())
    model.duration_s = 0.0
    calls = 0
    while on_loop.loop_size < SIZE:
        in_thread(on_loop)
        calls += 1
    assert calls >= 8
    assert on_loop.loop_size == GROWTH * SIZE


def test_a_fixed_mode_is_not_changed_by_what_is_measured(make: Make, model: Model) -> None:
    loop, thread = make("loop"), make("thread")
    in_thread(thread)
    model.duration_s = STALL_S * 1.2
    loop.run(INPUTS, SIZE, Surroundings())
    assert (loop.loop_size, thread.loop_size) == (float("inf"), -1)


@pytest.mark.parametrize(("holds_gil", "told"), [(True, 1), (False, 0)], ids=["holds the lock", "lets others run"])
def test_calls_that_hold_the_interpreters_lock_are_told_once(make: Make, model: Model, holds_gil: bool, told: int) -> None:
    reports: list[bool] = []
    execution = make(on_gil_held=lambda: reports.append(True))
    model.duration_s, model.holds_gil = 0.15, holds_gil
    in_thread(execution, calls=3)
    assert len(reports) == told


def test_a_call_that_takes_too_long_is_given_up(make: Make, model: Model) -> None:
    execution = make()
    model.duration_s = 0.5
    with pytest.raises(DeadlineExceeded):
        in_thread(execution, timeout_s=0.05)


def test_a_call_that_runs_for_too_long_is_stuck_until_it_ends(make: Make, model: Model) -> None:
    execution = make()
    model.duration_s = 0.3

    async def main() -> list[bool]:
        call = asyncio.ensure_future(execution.run_in_thread(INPUTS, SIZE, 5.0, Surroundings()))
        await asyncio.sleep(0.15)
        found = [execution.stuck(0.05), execution.stuck(5.0)]
        await call
        return [*found, execution.stuck(0.05)]

    assert asyncio.run(main()) == [True, False, False]


def test_nothing_is_run_for_a_caller_who_is_gone(make: Make, model: Model) -> None:
    in_thread(make(), cancelled=True)
    assert model.calls == 0


@pytest.mark.parametrize(("alone", "on_loop_meanwhile"), [(True, False), (False, True)])
def test_a_model_that_takes_one_call_at_a_time_is_not_on_the_loop_while_in_a_thread(
    make: Make, model: Model, alone: bool, on_loop_meanwhile: bool
) -> None:
    execution = make(alone=alone)
    while execution.loop_size < 0:
        in_thread(execution)
    model.duration_s = 0.1

    async def main() -> list[bool]:
        call = asyncio.ensure_future(execution.run_in_thread(INPUTS, 10 * SIZE * GROWTH, 5.0, Surroundings()))
        await asyncio.sleep(0.02)
        meanwhile = execution.loop_size >= SIZE
        await call
        return [meanwhile, execution.loop_size >= SIZE]

    assert asyncio.run(main()) == [on_loop_meanwhile, True]


def test_a_call_that_was_given_up_still_keeps_the_loop_free_until_it_ends(make: Make, model: Model) -> None:
    execution = make(alone=True)
    while execution.loop_size < 0:
        in_thread(execution)
    model.duration_s = 0.2

    async def main() -> list[bool]:
        with pytest.raises(DeadlineExceeded):
            await execution.run_in_thread(INPUTS, 10 * SIZE * GROWTH, 0.02, Surroundings())
        meanwhile = execution.loop_size >= SIZE
        await asyncio.sleep(0.4)
        return [meanwhile, execution.loop_size >= SIZE]

    assert asyncio.run(main()) == [False, True]


def test_the_times_in_the_queue_and_in_the_model_are_told(make: Make, model: Model) -> None:
    execution = make("thread")
    model.duration_s = 0.05
    first, second, on_loop = Surroundings(), Surroundings(), Surroundings()

    async def main() -> None:
        await asyncio.gather(*(execution.run_in_thread(INPUTS, SIZE, 5.0, each) for each in (first, second)))

    asyncio.run(main())
    execution.run(INPUTS, SIZE, on_loop)
    assert first.queue_s < 0.03 < second.queue_s  # it was queued when the first one ran already
    assert min(first.compute_s, second.compute_s, on_loop.compute_s) >= 0.05


def test_another_call_in_a_thread_does_not_count_for_where_the_model_runs(make: Make, model: Model) -> None:
    execution = make()

    async def main() -> Any:
        return await execution.run_in_thread(INPUTS, SIZE, 5.0, Surroundings(), lambda inputs: {"other": inputs["x"]})

    assert list(asyncio.run(main())) == ["other"]
    assert (model.calls, execution.loop_size) == (0, -1)
