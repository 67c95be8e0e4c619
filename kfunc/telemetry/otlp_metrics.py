"""Metrics as OTLP's Protocol Buffers (opentelemetry/proto/metrics/v1/metrics.proto). Sans-IO.

Names and units are those of the exposition, so that a query is the same whichever way the numbers came.
"""

from operator import ge
from struct import pack

from kfunc.protocol.grpc.wire import length_delimited
from kfunc.telemetry.otlp import SCHEMA, encode_scope, key_value
from kfunc.telemetry.samples import Distribution, Family, Labels, Sample

DELTA, CUMULATIVE = 1, 2
# What is counted has no unit: of a gauge whose unit is 1 Prometheus' translators make one called …_ratio.
UNITS = {"seconds": b"s", "bytes": b"By", "ratio": b"1"}

Point = tuple[str, Labels]
Values = dict[Point, Sample | Distribution]


def metrics_request(
    resource: bytes, families: list[Family], component: str, times: tuple[int, int], before: Values, *, delta: bool = False
) -> bytes:
    """An ExportMetricsServiceRequest of the time between two moments, in nanoseconds since the epoch.

    `before` is what had been counted at the first one and was `carried_on`, of which the difference is sent: the last push
    (delta), or the process's start.
    """
    common = length_delimited(7, key_value("component", component)), length_delimited(9, key_value("component", component))
    metrics = [_metric(family, times, common, before, DELTA if delta else CUMULATIVE) for family in families if family.samples]
    scope = length_delimited(2, b"".join([encode_scope(), *metrics, length_delimited(3, SCHEMA)]))
    return length_delimited(1, resource + scope + length_delimited(3, SCHEMA))


def values_of(families: list[Family]) -> Values:
    """What is sent, by its name and labels."""
    return {(family.name, sample.labels): sample for family in families for sample in family.samples}


def carried_on(before: Values, families: list[Family]) -> Values:
    """What had been counted of the series that went on since; one that is gone, or lower, begins anew with all of itself."""
    now = values_of(families)
    return {point: sample for point, sample in before.items() if point in now and _went_on(sample, now[point])}


def _went_on(before: Sample | Distribution, now: Sample | Distribution) -> bool:
    if isinstance(now, Sample) or isinstance(before, Sample):
        return isinstance(now, Sample) and isinstance(before, Sample) and now.value >= before.value
    return now.bounds == before.bounds and all(map(ge, now.counts, before.counts))


def _metric(family: Family, between: tuple[int, int], common: tuple[bytes, bytes], before: Values, temporality: int) -> bytes:
    """A Metric: counters are monotonic sums."""
    times = pack("<cQcQ", b"\x11", between[0], b"\x19", between[1])
    kind = b"\x10%c" % temporality
    points = []
    for sample in family.samples:
        if family.kind != "gauge":
            sample = _difference(sample, before.get((family.name, sample.labels)))
        points.append(length_delimited(1, _point(sample, times, common)))
    inner = b"".join(points)
    if family.kind == "gauge":
        data = length_delimited(5, inner)
    elif family.kind == "counter":
        data = length_delimited(7, inner + kind + b"\x18\x01")
    else:
        data = length_delimited(9, inner + kind)
    head = length_delimited(1, family.name.encode()) + length_delimited(2, family.text.encode())
    return length_delimited(2, head + length_delimited(3, _unit(family.name)) + data)


def _unit(name: str) -> bytes:
    return UNITS.get(name.removesuffix("_total").rpartition("_")[2], b"")


def _difference(sample: Sample | Distribution, before: Sample | Distribution | None) -> Sample | Distribution:
    """What was counted since."""
    if isinstance(sample, Sample):
        return Sample(sample.labels, sample.value - before.value) if isinstance(before, Sample) else sample
    if not isinstance(before, Distribution):
        return sample
    counts = tuple(now - then for now, then in zip(sample.counts, before.counts, strict=True))
    exemplars = {bucket: each for bucket, each in sample.exemplars.items() if before.exemplars.get(bucket) != each}
    return Distribution(sample.labels, sample.bounds, counts, sample.sum - before.sum, exemplars)


def _point(sample: Sample | Distribution, times: bytes, common: tuple[bytes, bytes]) -> bytes:
    """A NumberDataPoint or HistogramDataPoint; `common` is the attribute that each has."""
    if isinstance(sample, Sample):
        labels = [length_delimited(7, key_value(*pair)) for pair in sample.labels]
        return b"".join([times, b"\x21", pack("<d", sample.value), common[0], *labels])
    counts = [int(count) for count in sample.counts]
    packed = (
        b"\x21" + pack("<Q", sum(counts)),
        b"\x29" + pack("<d", sample.sum),
        length_delimited(6, pack(f"<{len(counts)}Q", *counts)),
        length_delimited(7, pack(f"<{len(sample.bounds)}d", *sample.bounds)),
    )
    exemplars = [
        length_delimited(
            8,
            b"\x11%b\x19%b" % (pack("<Q", int(each.at_s * 1e9)), pack("<d", each.value))
            + length_delimited(4, bytes.fromhex(each.span_id.decode()))
            + length_delimited(5, bytes.fromhex(each.trace_id.decode())),
        )
        for each in sample.exemplars.values()
    ]
    labels = [length_delimited(9, key_value(*pair)) for pair in sample.labels]
    return b"".join([times, *packed, *exemplars, common[1], *labels])
