import asyncio
from time import perf_counter

from kfunc.bench.timer import Timer


async def called(*after_s: float, until_s: float = 0.1) -> list[float]:
    """How long after it was asked the timer called; each time replaces the one before."""
    calls: list[float] = []
    begun = perf_counter()
    timer = Timer(lambda: calls.append(perf_counter() - begun))
    for each in after_s:
        timer.set(begun + each)
    await asyncio.sleep(until_s)
    timer.close()
    timer.close()
    await asyncio.sleep(0.05)
    return calls


def test_it_calls_once_and_not_before_the_time() -> None:
    (at,) = asyncio.run(called(0.02))
    assert at >= 0.0199


def test_a_time_that_has_passed_is_now() -> None:
    assert len(asyncio.run(called(-1.0))) == 1


def test_the_last_time_that_was_set_counts() -> None:
    (at,) = asyncio.run(called(0.01, 0.04))
    assert at >= 0.0399


def test_after_its_end_it_never_calls() -> None:
    assert asyncio.run(called(0.12)) == []
