"""What counts say of a rate, a quantile or a difference: estimates with their intervals. Pure."""

from math import erfc, sqrt

from msgspec import Struct

Z_REPORT = 1.96
"""95 % from both sides: what tables show."""
Z_SURE = 3.09
"""99.9 % from one side: what ends a rollout, for it is looked at again and again."""


class Interval(Struct, frozen=True):
    """An estimate and the bounds that the true value is within."""

    value: float
    low: float
    high: float


class Sample(Struct, frozen=True):
    """Answers that were counted: all, those with 5xx, and how many inferences took at most `bounds[i]` seconds.

    `buckets` are counts of single buckets, with one more for what is above the last bound; `seconds` is the sum of all times.
    """

    requests: float = 0.0
    errors: float = 0.0
    bounds: list[float] = []
    buckets: list[float] = []
    seconds: float = 0.0

    @property
    def timed(self) -> float:
        """How many times there are."""
        return sum(self.buckets)


def proportion(hits: float, total: float, z: float = Z_REPORT) -> Interval:
    """A rate with Wilson's interval; without anything counted it can be all."""
    if total <= 0:
        return Interval(0.0, 0.0, 1.0)
    rate = min(hits / total, 1.0)
    spread = z * sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    middle, scale = rate + z * z / (2 * total), 1 + z * z / total
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return Interval(rate, low if hits > 0 else 0.0, high if hits < total else 1.0)


def difference(hits: float, total: float, other_hits: float, other_total: float, z: float = Z_REPORT) -> Interval:
    """One rate less another, with Newcombe's interval."""
    one, other = proportion(hits, total, z), proportion(other_hits, other_total, z)
    below = sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    above = sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    gap = one.value - other.value
    return Interval(gap, gap - below, gap + above)


def quantile(sample: Sample, q: float, z: float = Z_REPORT) -> Interval:
    """A quantile of the times in seconds, as Prometheus reads it from buckets, between those of the ranks around it."""
    total = sample.timed
    if total <= 0:
        return Interval(0.0, 0.0, float("inf"))
    spread = z * sqrt(total * q * (1 - q))
    low, high = (total * q - spread) / total, (total * q + spread) / total
    return Interval(_at(sample, q), _at(sample, max(low, 0.0)), _at(sample, high) if high < 1 else float("inf"))


def _at(sample: Sample, q: float) -> float:
    rank, below = q * sample.timed, 0.0
    for number, count in enumerate(sample.buckets):
        if count > 0 and below + count >= rank:
            if number >= len(sample.bounds):  # above the last bound there is none to go to
                return sample.bounds[-1] if sample.bounds else 0.0
            start = sample.bounds[number - 1] if number else 0.0
            return start + (sample.bounds[number] - start) * (rank - below) / count
        below += count
    return sample.bounds[-1] if sample.bounds else 0.0


def mean(sample: Sample) -> float:
    """The mean of the times, in seconds."""
    return sample.seconds / sample.timed if sample.timed else 0.0


def p_value(hits: float, total: float, other_hits: float, other_total: float) -> float:
    """How likely two rates differ this much by chance (two-sided test of two proportions)."""
    if total <= 0 or other_total <= 0:
        return 1.0
    pooled = (hits + other_hits) / (total + other_total)
    deviation = sqrt(pooled * (1 - pooled) * (1 / total + 1 / other_total))
    if deviation == 0:
        return 1.0
    return erfc(abs(hits / total - other_hits / other_total) / deviation / sqrt(2))


def holm(p_values: list[float]) -> list[float]:
    """The same for several comparisons at once (Holm's correction), in their order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = most
    return corrected


def added(one: Sample, other: Sample) -> Sample:
    """Both together; of different bounds the first's times are kept."""
    same = one.bounds == other.bounds
    if not one.bounds:
        bounds, buckets, seconds = other.bounds, other.buckets, other.seconds
    elif not same:
        bounds, buckets, seconds = one.bounds, one.buckets, one.seconds
    else:
        bounds, seconds = one.bounds, one.seconds + other.seconds
        buckets = [a + b for a, b in zip(one.buckets, other.buckets, strict=True)]
    return Sample(one.requests + other.requests, one.errors + other.errors, bounds, buckets, seconds)


def grown(now: Sample, before: Sample) -> Sample:
    """What came since `before`, of counters that begin anew when their process does."""
    restarted = now.requests < before.requests or now.timed < before.timed or (before.bounds and now.bounds != before.bounds)
    if restarted or (not before.bounds and not before.requests):
        return now
    if not before.bounds:
        buckets, seconds = now.buckets, now.seconds
    else:
        buckets = [max(a - b, 0.0) for a, b in zip(now.buckets, before.buckets, strict=True)]
        seconds = max(now.seconds - before.seconds, 0.0)
    return Sample(now.requests - before.requests, max(now.errors - before.errors, 0.0), now.bounds, buckets, seconds)
