"""Rules for how `inference.traffic` is rolled out: times that fit, queries that can be judged, addresses that can be asked."""

import re
from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.analysis import Analysis
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.traffic import Traffic

TRAFFIC: FieldPath = ("inference", "traffic")
ANALYSIS: FieldPath = (*TRAFFIC, "analysis")
PROMETHEUS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[^\s?#]*)?|service:[a-z0-9-]+/[a-z0-9-]+:[0-9]{1,5}")


def _traffic(function: Function) -> Traffic | None:
    given = function.inference.traffic
    return None if given is UNSET else given


def times_fit(function: Function) -> Iterator[Finding]:
    """A step has time for its interval."""
    traffic = _traffic(function)
    if traffic is None:
        return
    if traffic.analysis.max_step_s < traffic.interval_s:
        message = (
            f"expected at least inference.traffic.interval_s, {traffic.interval_s:g}, found {traffic.analysis.max_step_s:g}"
        )
        yield Finding((*ANALYSIS, "max_step_s"), message, "a step takes that long at least")
    if traffic.keep_s != Traffic().keep_s and traffic.strategy != "blue-green":
        message = f"keep_s belongs to strategy: blue-green, and the strategy is {traffic.strategy}"
        yield Finding((*TRAFFIC, "keep_s"), message, "remove it, or write strategy: blue-green", at_key=True)
    if traffic.strategy == "ab" and traffic.promotion == "auto":
        message = "a comparison is never promoted by itself"
        yield Finding((*TRAFFIC, "promotion"), message, "remove it: kfunc rollout promote --variant NAME ends it", at_key=True)


def queries_can_be_judged(function: Function) -> Iterator[Finding]:
    """Each has a bound and a name of its own, and somebody to be asked."""
    traffic = _traffic(function)
    if traffic is None:
        return
    analysis = traffic.analysis
    if analysis.prometheus and not PROMETHEUS.fullmatch(analysis.prometheus):
        message = f"expected http://HOST:PORT or service:NAMESPACE/NAME:PORT, found {show_text(analysis.prometheus)}"
        yield Finding((*ANALYSIS, "prometheus"), message, "such as service:monitoring/prometheus-operated:9090")
    if analysis.queries and not analysis.prometheus:
        yield Finding((*ANALYSIS, "queries"), "there is nobody to ask", "add prometheus: …", at_key=True)
    yield from _queries(analysis)


def _queries(analysis: Analysis) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, query in enumerate(analysis.queries):
        path: FieldPath = (*ANALYSIS, "queries", number)
        if query.max is UNSET and query.min is UNSET and query.over_stable is UNSET:
            yield Finding(path, f"{show_text(query.name)} has no bound", "add max: …, min: … or over_stable: …")
        if query.max is not UNSET and query.min is not UNSET and query.min > query.max:
            yield Finding((*path, "min"), f"expected at most max, {query.max:g}, found {query.min:g}")
        if query.name in seen:
            yield Finding((*path, "name"), f"{show_text(query.name)} is already a query", "use another name")
        if "$revision" not in query.query:
            message = "without $revision every revision gets the same value"
            yield Finding((*path, "query"), message, 'such as sum(rate(errors{revision="$revision"}[$window]))')
        seen.add(query.name)


def comparisons_can_be_made(function: Function) -> Iterator[Finding]:
    """What is compared needs requests of both revisions."""
    traffic = _traffic(function)
    if traffic is None:
        return
    analysis = traffic.analysis
    if traffic.strategy == "canary" and traffic.steps[:1] == [100]:
        for key in "error_rate_over_stable", "p99_over_stable":
            if getattr(analysis, key) is not UNSET:
                message = f"{key} compares two revisions, and with steps: [100] the stable one has no requests"
                yield Finding((*ANALYSIS, key), message, "remove it, or let a step come before: steps: [50, 100]", at_key=True)


def kept_pods_are_allowed(function: Function) -> Iterator[Finding]:
    """What a rollout keeps is the min-scale of a revision, which Knative refuses above its max-scale."""
    traffic, most = _traffic(function), function.deploy.options.scale.max
    if traffic is None or function.inference.mode == "raw" or most is UNSET:
        return
    if 0 < most < traffic.warm:
        message = f"expected at most deploy.options.scale.max, {most}, found {traffic.warm}"
        yield Finding((*TRAFFIC, "warm"), message, "raise max or lower warm")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    times_fit,
    queries_can_be_judged,
    comparisons_can_be_made,
    kept_pods_are_allowed,
)
