"""Times in buckets that grow by 1 %, so that any percentile is known to 1 % in memory that does not grow. Sans-IO."""

from collections.abc import Iterator
from itertools import pairwise
from math import ceil, floor, log

GROWTH = 1.01
SCALE = 1 / log(GROWTH)
LEAST_S = 1e-6
OFFSET = ceil(-log(LEAST_S) * SCALE)


class Histogram:
    """Seconds. What is below a microsecond counts as one."""

    __slots__ = ("counts", "largest", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0.0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        """Take up one value."""
        bucket = floor(log(seconds) * SCALE) + OFFSET if seconds > LEAST_S else 0
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.total += seconds
        if seconds > self.largest:
            self.largest = seconds

    def merge(self, other: "Histogram") -> None:
        """Take up the values of another one."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """0 without values."""
        return self.total / self.count if self.counts else 0.0

    def percentile(self, percent: float) -> float:
        """The value that so many percent of the values do not exceed (nearest rank), to 1 %; 0 without values."""
        wanted, seen = max(1, ceil(self.count * percent / 100)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return self._shown(bucket)
        return 0.0

    def bands(self, edges: list[float]) -> Iterator[int]:
        """How many values lie between each edge and the next, the first edge being the least value that counts."""
        for low, high in pairwise(edges):
            yield sum(count for bucket, count in self.counts.items() if low <= self._shown(bucket) < high)

    def _shown(self, bucket: int) -> float:
        """No value is above the largest, though the middle of its bucket may be."""
        return min(value_of(bucket), self.largest)


def value_of(bucket: int) -> float:
    """The middle of a bucket."""
    return float(GROWTH ** (bucket - OFFSET + 0.5)) if bucket else LEAST_S
