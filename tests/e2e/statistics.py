"""Statistics of paired trials. Pure."""

import random
from collections.abc import Sequence
from statistics import median

ROUNDS = 5000


def median_interval(values: Sequence[float], seed: int = 1) -> tuple[float, float, float]:
    """The median, and its 95 % interval by the bootstrap (percentiles)."""
    chosen = random.Random(seed)
    found = sorted(median(chosen.choices(values, k=len(values))) for _ in range(ROUNDS))
    return median(values), found[int(ROUNDS * 0.025)], found[int(ROUNDS * 0.975)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
