"""A pod's /metrics as a Sample: the requests of its outermost process, which see what callers see. Pure."""

import re

from kfunc.rollout.statistics import Sample

REQUESTS = "kfunc_requests_total"
DURATION = "kfunc_request_duration_seconds"
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
OUTERMOST = ("logger", "batcher", "handler")


def read_exposition(text: str) -> Sample:
    """The counters so far; of several processes in one text the outermost's."""
    series: dict[str, list[tuple[str, dict[str, str], float]]] = {}
    for line in text.split("\n"):  # a label's text may have other ends of lines
        if not line.startswith((REQUESTS, DURATION)):
            continue
        name, _, rest = line.partition("{")
        inside, _, value = rest.partition(" # ")[0].rpartition("} ")
        labels = dict(LABEL.findall(inside))
        try:
            number = float(value.split()[0])
        except (ValueError, IndexError):
            continue
        series.setdefault(labels.get("component", ""), []).append((name, labels, number))
    for component in OUTERMOST:
        if component in series:
            return _sample(series[component])
    return Sample()


def _sample(series: list[tuple[str, dict[str, str], float]]) -> Sample:
    requests = errors = seconds = 0.0
    totals: dict[float, float] = {}
    for name, labels, number in series:
        if name == REQUESTS:
            requests += number
            errors += number if labels.get("code", "").startswith("5") else 0.0
        elif name == f"{DURATION}_sum":
            seconds += number
        elif name == f"{DURATION}_bucket":
            bound = float(labels.get("le", "inf").replace("+Inf", "inf"))
            totals[bound] = totals.get(bound, 0.0) + number
    return from_totals(requests, errors, totals, seconds)


def from_totals(requests: float, errors: float, totals: dict[float, float], seconds: float) -> Sample:
    """A Sample of Prometheus' buckets, each of which counts all below it, too."""
    bounds = sorted(bound for bound in totals if bound != float("inf"))
    cumulated = [totals[bound] for bound in bounds]
    last = totals.get(float("inf"), cumulated[-1] if cumulated else 0.0)
    buckets = [max(high - low, 0.0) for low, high in zip([0.0, *cumulated], [*cumulated, last], strict=True)]
    return Sample(requests, errors, bounds, buckets if bounds else [], seconds)
