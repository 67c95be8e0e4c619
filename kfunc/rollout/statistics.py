"""What counts say of a rate, a quantile or a difference: estimates with their intervals. Pure."""

from collections.abc import Callable, Iterator
from math import erfc, exp, inf, lgamma, log, pi, sqrt

from msgspec import Struct

Z_REPORT = 1.96
"""95 % from both sides: what tables show."""
CHANCE = 0.001
"""How often at most a bound that is kept is found broken, in all looks at a step together."""
FEW_EXPECTED = 5
"""Below so many expected in a cell the normal distribution is no guide."""


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


def sure(hits: float, total: float, chance: float = CHANCE) -> Interval:
    """A rate with bounds that hold at every look, however often it is looked: all of them, but for `chance`.

    A confidence sequence: a rate is out when a mixture of all rates (Beta(1/2, 1/2), Robbins 1970) explains the counts
    1 / `chance` times better. Of a true rate that is a martingale, and by Ville's inequality it ever happens so rarely.
    """
    if total <= 0:
        return Interval(0.0, 0.0, 1.0)
    hits = min(hits, total)
    rate, misses = hits / total, total - hits
    least = lgamma(hits + 0.5) + lgamma(misses + 0.5) - lgamma(total + 1) - log(pi) + log(chance)

    def is_out(other: float) -> bool:
        return hits * log(other) + misses * log(1 - other) < least

    low = _edge(is_out, 0.0, rate) if hits else 0.0
    return Interval(rate, low, _edge(is_out, 1.0, rate) if misses else 1.0)


def _edge(is_out: Callable[[float], bool], out: float, within: float) -> float:
    """Where a range ends, from a value out of it and one within: the last that is known to be out."""
    for _ in range(40):
        middle = (out + within) / 2
        if 0 < middle < 1 and is_out(middle):
            out = middle
        else:
            within = middle
    return out


def half_sure(hits: float, total: float) -> Interval:
    """The same for each of two that are compared: together they go wrong as rarely."""
    return sure(hits, total, CHANCE / 2)


def sure_difference(hits: float, total: float, other_hits: float, other_total: float) -> Interval:
    """One rate less another, with bounds that hold at every look."""
    one, other = half_sure(hits, total), half_sure(other_hits, other_total)
    return Interval(one.value - other.value, one.low - other.high, one.high - other.low)


def quantile(sample: Sample, q: float, rate: Callable[[float, float], Interval] = proportion) -> Interval:
    """A quantile of the times in seconds, read within its bucket as Prometheus does; low and high are bounds of buckets.

    `rate` gives the interval of the part that took longer than a bound: what it leaves open, the quantile is.
    """
    if sample.timed <= 0:
        return Interval(0.0, 0.0, inf)
    slower = [(bound, rate(count, sample.timed)) for bound, count in _slower(sample)]
    low = max((bound for bound, part in slower if part.low > 1 - q), default=0.0)
    high = min((bound for bound, part in slower if part.high <= 1 - q), default=inf)
    start, end, within = _bucket(sample, q)
    return Interval(start + (end - start) * within if end < inf else start, low, high)


def is_above_all(sample: Sample, q: float) -> bool:
    """Whether a quantile is above the last bound, so that nothing more is known of it."""
    return _bucket(sample, q)[1] == inf


def _slower(sample: Sample) -> Iterator[tuple[float, float]]:
    """Each bound with how many took longer."""
    count = sample.timed
    for bound, within in zip(sample.bounds, sample.buckets, strict=False):
        count -= within
        yield bound, max(count, 0.0)


def _bucket(sample: Sample, q: float) -> tuple[float, float, float]:
    """The bucket with this quantile: its bounds, and how far in it is."""
    rank, below, bounds = q * sample.timed, 0.0, [0.0, *sample.bounds, inf]
    for number, count in enumerate(sample.buckets):
        if count > 0 and below + count >= rank:
            return bounds[number], bounds[number + 1], (rank - below) / count
        below += count
    return bounds[-2], inf, 0.0


def mean(sample: Sample) -> float:
    """The mean of the times, in seconds."""
    return sample.seconds / sample.timed if sample.timed else 0.0


def p_value(hits: float, total: float, other_hits: float, other_total: float) -> float:
    """How likely two rates differ this much by chance, from both sides: of two proportions, or Fisher's of few."""
    if total <= 0 or other_total <= 0:
        return 1.0
    both, all_hits = total + other_total, hits + other_hits
    if min(total, other_total) * min(all_hits, both - all_hits) / both < FEW_EXPECTED:
        return _fisher(round(hits), round(total), round(other_hits), round(other_total))
    pooled = all_hits / both
    deviation = sqrt(pooled * (1 - pooled) * (1 / total + 1 / other_total))
    return erfc(abs(hits / total - other_hits / other_total) / deviation / sqrt(2))


def _fisher(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """The chance of all tables with the same sums that are no likelier than this one."""
    both, all_hits = total + other_total, hits + other_hits

    def chance(number: int) -> float:
        ways = _log_ways(total, number) + _log_ways(other_total, all_hits - number) - _log_ways(both, all_hits)
        return exp(ways)

    seen = chance(hits) * (1 + 1e-7)
    chances = map(chance, range(max(0, all_hits - other_total), min(total, all_hits) + 1))
    return min(1.0, sum(each for each in chances if each <= seen))


def _log_ways(things: int, taken: int) -> float:
    return lgamma(things + 1) - lgamma(taken + 1) - lgamma(things - taken + 1)


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
