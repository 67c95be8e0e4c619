"""Judges what the candidates answered in a step, by func.yaml's bounds and beside the stable revision. Pure.

A bound is broken when it is so by more than chance explains, and kept when the estimate keeps it;
what is neither waits for more requests.
"""

from collections.abc import Iterator

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.analysis import Analysis, Query
from kfunc.rollout.state import Check, Pod, Rollout, Verdict, Window
from kfunc.rollout.statistics import Z_SURE, Sample, added, difference, grown, proportion, quantile

REQUESTS = "requests"
"""The check of how many there were."""
FEWEST = 10
"""Requests below which nothing is broken, however it looks."""
LEAST_GAP_S = 0.005
"""Times that differ by less are the same: buckets are no finer."""
STALE_S = 15.0
"""Figures that are older say nothing of now: three looks of Prometheus."""
MOST_BAD_LOOKS = 3
"""A query that is out of its bounds so often in a row ends the rollout."""


def extended(window: Window, pods: dict[str, list[Pod]], now: float, exclude_start_s: float) -> Window:
    """The window with what pods have counted since they were last seen.

    A pod begins to count when it was ready for `exclude_start_s`: what it answered before, with a cold model, is left out.
    """
    samples, last = dict(window.samples), dict[str, Sample]()
    read_at = window.read_at | {tag: now for tag, listed in pods.items() if any(pod.counters is not None for pod in listed)}
    for tag, listed in pods.items():
        for pod in listed:
            before = window.last.get(pod.name)
            if pod.counters is None:
                if before is not None:
                    last[pod.name] = before
            elif before is not None:
                samples[tag] = added(samples.get(tag, Sample()), grown(pod.counters, before))
                last[pod.name] = pod.counters
            elif pod.ready_at and now - pod.ready_at >= exclude_start_s:
                last[pod.name] = pod.counters
    return Window(window.since, samples, last, read_at)


def dated(check: Check, window: Window, now: float) -> Check:
    """The check as it stands now: what was not read in this step, or not of late, is not passed."""
    at = window.read_at.get(check.tag)
    is_fresh = at is not None and now - at <= STALE_S
    if is_fresh or (check.verdict != "pass" and check.name != REQUESTS):
        return check
    text = f"{check.text}, {'not read so far' if at is None else 'not read of late'}"
    return replace(check, verdict="unsure", text=text)


def judge(rollout: Rollout, tag: str, needed: int) -> list[Check]:
    """The checks of one candidate, of whose requests `needed` must have been seen."""
    analysis, samples = rollout.settings.analysis, rollout.window.samples
    sample = samples.get(tag, Sample())
    stable = samples.get(rollout.stable.tag, Sample())
    if stable.requests < analysis.min_requests and rollout.reference is not None:
        stable = rollout.reference
    return [Check(name, tag, verdict, text) for name, verdict, text in _verdicts(analysis, sample, stable, needed)]


def _verdicts(analysis: Analysis, sample: Sample, stable: Sample, needed: int) -> Iterator[tuple[str, Verdict, str]]:
    enough = sample.requests >= needed
    yield REQUESTS, "pass" if enough else "unsure", f"{sample.requests:.0f} requests, {needed} are needed"
    if sample.requests > 0:
        yield _errors(analysis, sample)
        if analysis.p99_ms is not UNSET:
            yield _p99(analysis.p99_ms / 1000, sample)
    if min(sample.requests, stable.requests) < min(FEWEST, analysis.min_requests):
        return
    if analysis.error_rate_over_stable is not UNSET:
        yield _errors_over(analysis.error_rate_over_stable, sample, stable)
    if analysis.p99_over_stable is not UNSET:
        yield _p99_over(analysis.p99_over_stable, sample, stable)


def _errors(analysis: Analysis, sample: Sample) -> tuple[str, Verdict, str]:
    found = proportion(sample.errors, sample.requests, Z_SURE)
    shown = proportion(sample.errors, sample.requests)
    text = (
        f"error rate {percent(found.value)} of {sample.requests:.0f} requests "
        f"({percent(shown.low)} to {percent(shown.high)}), at most {percent(analysis.error_rate)}"
    )
    few = sample.requests < min(FEWEST, analysis.min_requests)
    return "error rate", _verdict(found.value, found.low, analysis.error_rate, few), text


def _p99(bound_s: float, sample: Sample) -> tuple[str, Verdict, str]:
    found = quantile(sample, 0.99, Z_SURE)
    text = f"p99 {milliseconds(found.value)} of {sample.timed:.0f} answers, at most {milliseconds(bound_s)}"
    return "p99", _verdict(found.value, found.low, bound_s, sample.timed < FEWEST), text


def _errors_over(bound: float, sample: Sample, stable: Sample) -> tuple[str, Verdict, str]:
    gap = difference(sample.errors, sample.requests, stable.errors, stable.requests, Z_SURE)
    rate, other = proportion(sample.errors, sample.requests).value, proportion(stable.errors, stable.requests).value
    text = f"error rate {percent(rate)}, stable {percent(other)}: at most {percent(bound)} more"
    return "error rate over stable", _verdict(gap.value, gap.low, bound, False), text


def _p99_over(factor: float, sample: Sample, stable: Sample) -> tuple[str, Verdict, str]:
    found, other = quantile(sample, 0.99, Z_SURE), quantile(stable, 0.99, Z_SURE)
    bound = max(factor * other.value, other.value + LEAST_GAP_S)
    sure = max(factor * other.high, other.high + LEAST_GAP_S)
    text = f"p99 {milliseconds(found.value)}, stable {milliseconds(other.value)}: at most {factor:g} times as long"
    verdict: Verdict = "fail" if found.low > sure else "pass" if found.value <= bound else "unsure"
    return "p99 over stable", verdict, text


def _verdict(value: float, low: float, bound: float, few: bool) -> Verdict:
    if low > bound and not few:
        return "fail"
    return "pass" if value <= bound else "unsure"


def judge_query(query: Query, value: float | None, stable: float | None, looks: int) -> tuple[Verdict, str]:
    """A query's value; `looks` is how often in a row it was out of bounds, this time included."""
    if value is None:
        return "unsure", f"{query.name}: Prometheus has no value"
    bounds = []
    if query.max is not UNSET:
        bounds.append((value <= query.max, f"at most {query.max:g}"))
    if query.min is not UNSET:
        bounds.append((value >= query.min, f"at least {query.min:g}"))
    if query.over_stable is not UNSET and stable is not None:
        bounds.append((value <= query.over_stable * stable, f"at most {query.over_stable:g} times the stable {stable:g}"))
    text = f"{query.name} {value:g}, {' and '.join(text for _, text in bounds) or 'nothing to compare with'}"
    if all(good for good, _ in bounds):
        return "pass", text
    return ("fail" if looks >= MOST_BAD_LOOKS else "unsure"), text


def percent(value: float) -> str:
    """`12.3 %`."""
    return f"{100 * value:.3g} %"


def milliseconds(seconds: float) -> str:
    """`12.3 ms`."""
    return f"{1000 * seconds:.4g} ms"
