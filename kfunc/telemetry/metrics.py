"""Counters and histograms in shared memory, shown in the Prometheus text format 0.0.4.

The values of one process are a slab of doubles; workers that were forked from one parent share the
map, each writes its own slab and a scrape of any adds them up.
"""

import mmap
from bisect import bisect_left
from collections.abc import Callable, Mapping, MutableSequence
from typing import cast

# Microseconds to minutes, in seconds.
LATENCY_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SLAB_DOUBLES = 2048
CODES = range(100, 600)


class Metrics:
    """The metrics of one process; `slabs` is the number of processes that share them."""

    def __init__(self, component: str, slabs: int = 1) -> None:
        self._label = f'component="{component}"'
        self._slabs = slabs
        # A list counts in half the time, but only a map is shared with workers that are forked later.
        self._all: MutableSequence[float] = (
            [0.0] * SLAB_DOUBLES
            if slabs == 1
            else cast(MutableSequence[float], memoryview(mmap.mmap(-1, slabs * SLAB_DOUBLES * 8)).cast("d"))
        )
        self.values = self._all if slabs == 1 else self._all[:SLAB_DOUBLES]
        self._used = 0
        self._families: list[Callable[[], list[str]]] = []

    def attach(self, slab: int) -> None:
        """Write to slab number `slab` from now on; called in a worker after the fork."""
        if self._slabs > 1:
            start = slab % self._slabs * SLAB_DOUBLES
            self.values = self._all[start : start + SLAB_DOUBLES]

    def _allocate(self, count: int) -> int:
        first, self._used = self._used, self._used + count
        if self._used > SLAB_DOUBLES:
            raise ValueError("too many metrics for a slab")
        return first

    def _sum(self, index: int) -> float:
        return sum(self._all[slab * SLAB_DOUBLES + index] for slab in range(self._slabs))

    def _head(self, name: str, kind: str, text: str) -> list[str]:
        return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> "Counter":
        """A number that only grows; a name may come again with other values of its labels."""
        index, all_labels = self._allocate(1), self._label + label_text(labels)
        self._families.append(
            lambda: [*self._head(name, "counter", text), f"{name}{{{all_labels}}} {_number(self._sum(index))}"]
        )
        return Counter(self, index)

    def gauge(self, name: str, text: str, read: Callable[[], float], labels: Mapping[str, str] | None = None) -> None:
        """A number that is read when it is asked for; of the worker that answers."""
        all_labels = self._label + label_text(labels)
        self._families.append(lambda: [*self._head(name, "gauge", text), f"{name}{{{all_labels}}} {_number(read())}"])

    def codes(self, name: str, text: str) -> "Counter":
        """A counter for each HTTP status, label `code`; `add(status)` with the status as the offset."""
        index = self._allocate(len(CODES))

        def lines() -> list[str]:
            counts = [(code, self._sum(index + code - CODES.start)) for code in CODES]
            series = [f'{name}{{{self._label},code="{code}"}} {_number(count)}' for code, count in counts if count]
            return [*self._head(name, "counter", text), *series]

        self._families.append(lines)
        return Counter(self, index - CODES.start)

    def histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> "Histogram":
        """A distribution with the upper `bounds` of its buckets."""
        index = self._allocate(len(bounds) + 2)

        def lines() -> list[str]:
            result, total = self._head(name, "histogram", text), 0.0
            for offset, bound in enumerate((*map(_number, bounds), "+Inf")):
                total += self._sum(index + offset)
                result.append(f'{name}_bucket{{{self._label},le="{bound}"}} {_number(total)}')
            result.append(f"{name}_sum{{{self._label}}} {_number(self._sum(index + len(bounds) + 1))}")
            result.append(f"{name}_count{{{self._label}}} {_number(total)}")
            return result

        self._families.append(lines)
        return Histogram(self, index, bounds)

    def exposition(self) -> str:
        """All families as text."""
        return merge(["".join(f"{line}\n" for family in self._families for line in family())])


class Counter:
    """One or, with offsets, several counters next to each other."""

    __slots__ = ("_metrics", "index")

    def __init__(self, metrics: Metrics, index: int) -> None:
        self._metrics = metrics
        self.index = index

    def add(self, offset: int = 0, amount: float = 1.0) -> None:
        """Count."""
        self._metrics.values[self.index + offset] += amount


class Histogram:
    """A distribution."""

    __slots__ = ("_bounds", "_metrics", "index", "sum_index")

    def __init__(self, metrics: Metrics, index: int, bounds: tuple[float, ...]) -> None:
        self._metrics = metrics
        self.index = index
        self._bounds = bounds
        self.sum_index = index + len(bounds) + 1

    def observe(self, value: float) -> None:
        """Take up one value."""
        values = self._metrics.values
        values[self.index + bisect_left(self._bounds, value)] += 1.0
        values[self.sum_index] += value


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def label_text(labels: Mapping[str, str] | None) -> str:
    """Labels behind those that there are, in the text format's quoting."""
    quoted = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in (labels or {}).items()
    }
    return "".join(f',{name}="{value}"' for name, value in quoted.items())


def merge(expositions: list[str]) -> str:
    """Several processes' texts as one: the series of a family stand together, under one head."""
    families: dict[str, list[str]] = {}
    heads: dict[str, dict[str, str]] = {}
    for exposition in expositions:
        family = ""
        for line in exposition.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                heads.setdefault(family, {}).setdefault(line[2:6], line)
            elif line and not line.startswith("#"):
                families.setdefault(family, []).append(line)
    return "".join(f"{line}\n" for name, head in heads.items() for line in (*head.values(), *families.get(name, ())))
