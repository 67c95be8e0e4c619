"""What was measured, at one moment: what all forms of exposition are made of."""

from msgspec import Struct

Labels = tuple[tuple[str, str], ...]


class Exemplar(Struct, frozen=True, gc=False):
    """One request that is in a bucket: its value, its trace, and when it ended, in seconds since the epoch."""

    value: float
    trace_id: bytes
    span_id: bytes
    at_s: float


class Sample(Struct, frozen=True):
    """A counter or a gauge."""

    labels: Labels
    value: float


class Distribution(Struct, frozen=True):
    """A histogram: `counts` of the buckets up to each of `bounds`, not added up, and of those above the last one."""

    labels: Labels
    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float
    exemplars: dict[int, Exemplar] = {}


class Family(Struct, frozen=True):
    """All series of one name. `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    text: str
    samples: list[Sample | Distribution]
