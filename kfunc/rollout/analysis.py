"""Judges what the candidates answered in a step, by func.yaml's bounds and beside the stable revision. Pure.

A bound is broken when even the interval that holds at all looks (`sure`) is beyond it, and kept when the estimate keeps it;
what is neither waits for more requests.
"""

from collections.abc import Iterator

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.analysis import Analysis, Query
from kfunc.rollout.state import Check, Pod, Rollout, Verdict, Window
from kfunc.rollout.statistics import Sample, added, grown, half_sure, is_above_all, proportion, quantile, sure, sure_difference

REQUESTS = "requests"
"""The check of how many there were."""
FEWEST = 10
"""Requests below which nothing is broken, however it looks."""
LEAST_GAP_S = 0.005
"""Times that differ by less are the same."""
STALE_S = 15.0
"""Figures that are older say nothing of now: three looks of Prometheus."""
ROUNDING = 1e-9
"""A bound in milliseconds and a bucket's in seconds that differ by less are the same."""
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
    return replace(window, samples=samples, last=last, read_at=read_at)


def dated(check: Check, window: Window, now: float) -> Check:
    """The check as it stands now: what was not read in this step, or not of late, is not passed."""
    at = window.read_at.get(check.tag)
    is_fresh = at is not None and now - at <= STALE_S
    if is_fresh or (check.verdict != "pass" and check.name != REQUESTS):
        return check
    text = f"{check.text}, {'not read so far' if at is None else 'not read of late'}"
    return replace(check, verdict="unsure", text=text)


def counted(rollout: Rollout, tag: str, needed: int) -> Check:
    """Whether a revision has answered enough."""
    seen = rollout.window.samples.get(tag, Sample()).requests
    whose = f"{tag}: " if rollout.strategy == "ab" else ""
    return Check(REQUESTS, tag, "pass" if seen >= needed else "unsure", f"{whose}{seen:.0f} requests, {needed} are needed")


def judge(rollout: Rollout, tag: str, needed: int) -> Iterator[Check]:
    """The checks of one candidate, of whose requests `needed` must have been seen."""
    yield counted(rollout, tag, needed)
    sample = rollout.window.samples.get(tag, Sample())
    if sample.requests > 0:
        for name, verdict, text in _verdicts(rollout, sample, needed):
            yield Check(name, tag, verdict, text)


def _verdicts(rollout: Rollout, sample: Sample, needed: int) -> Iterator[tuple[str, Verdict, str]]:
    analysis, stable = rollout.settings.analysis, _stable(rollout)
    few = sample.requests < min(FEWEST, analysis.min_requests)
    bare = f"nothing of {rollout.stable.revision} to compare with: it has answered no requests since the rollout began"
    yield _errors(analysis, sample, few)
    if analysis.error_rate_over_stable is not UNSET:
        name, bound = "error rate over stable", analysis.error_rate_over_stable
        yield _errors_over(bound, sample, stable, few) if stable.requests else (name, "unsure", f"{name}: {bare}")
    if not sample.timed and not needed:  # nothing but other requests than inferences: they have no bound
        return
    if analysis.p99_ms is not UNSET:
        yield _p99(analysis.p99_ms / 1000, sample)
    if analysis.p99_over_stable is not UNSET:
        name, factor = "p99 over stable", analysis.p99_over_stable
        yield _p99_over(factor, sample, stable) if stable.timed else (name, "unsure", f"{name}: {bare}")


def _stable(rollout: Rollout) -> Sample:
    """What the stable revision answered in this step, or in an earlier one where it has too little of its own."""
    now, before = rollout.window.samples.get(rollout.stable.tag, Sample()), rollout.reference
    if before is None or now.requests >= min(rollout.settings.analysis.min_requests, before.requests):
        return now
    return before


def _errors(analysis: Analysis, sample: Sample, few: bool) -> tuple[str, Verdict, str]:
    found, shown = sure(sample.errors, sample.requests), proportion(sample.errors, sample.requests)
    text = (
        f"error rate {percent(found.value)} of {sample.requests:.0f} requests "
        f"({percent(shown.low)} to {percent(shown.high)}), at most {percent(analysis.error_rate)}"
    )
    return "error rate", _verdict(found.value, found.low, analysis.error_rate, few), text


def _p99(bound_s: float, sample: Sample) -> tuple[str, Verdict, str]:
    """Kept when the estimate within its bucket keeps it; broken when more than 1 % surely took longer, by whole buckets."""
    if sample.timed <= 0:
        return "p99", "unsure", "p99: no inference was answered"
    found, is_known = quantile(sample, 0.99, sure), not is_above_all(sample, 0.99)
    text = f"p99 {'' if is_known else 'over '}{milliseconds(found.value)} of {sample.timed:.0f} answers"
    most = f"at most {milliseconds(bound_s)}"
    if found.low >= bound_s * (1 - ROUNDING) and sample.timed >= FEWEST:
        return "p99", "fail", f"{text}, {most}"
    return "p99", "pass" if is_known and found.value <= bound_s * (1 + ROUNDING) else "unsure", f"{text}, {most}"


def _errors_over(bound: float, sample: Sample, stable: Sample, few: bool) -> tuple[str, Verdict, str]:
    gap = sure_difference(sample.errors, sample.requests, stable.errors, stable.requests)
    rate, other = proportion(sample.errors, sample.requests).value, proportion(stable.errors, stable.requests).value
    text = f"error rate {percent(rate)}, stable {percent(other)}: at most {percent(bound)} more"
    return "error rate over stable", _verdict(gap.value, gap.low, bound, few), text


def _p99_over(factor: float, sample: Sample, stable: Sample) -> tuple[str, Verdict, str]:
    if sample.timed <= 0:
        return "p99 over stable", "unsure", "p99 over stable: no inference was answered"
    found, other = quantile(sample, 0.99, half_sure), quantile(stable, 0.99, half_sure)
    bound = max(factor * other.value, other.value + LEAST_GAP_S)
    most = max(factor * other.high, other.high + LEAST_GAP_S)
    text = f"p99 {milliseconds(found.value)}, stable {milliseconds(other.value)}: at most {factor:g} times as long"
    verdict: Verdict = "fail" if found.low > most and sample.timed >= FEWEST else "pass" if found.value <= bound else "unsure"
    return "p99 over stable", verdict, text


def _verdict(value: float, low: float, bound: float, few: bool) -> Verdict:
    if low > bound and not few:
        return "fail"
    return "pass" if value <= bound else "unsure"


def judge_query(query: Query, value: float | None, stable: float | None) -> tuple[bool | None, str]:
    """Whether a query's value is within its bounds; None where that cannot be known."""
    if value is None:
        return None, f"{query.name}: Prometheus has no value"
    bounds, is_known = [], True
    if query.max is not UNSET:
        bounds.append((value <= query.max, f"at most {query.max:g}"))
    if query.min is not UNSET:
        bounds.append((value >= query.min, f"at least {query.min:g}"))
    if query.over_stable is not UNSET:
        is_known = stable is not None
        shown = "the stable one's, which has none" if stable is None else f"the stable {stable:g}"
        good = stable is None or value <= query.over_stable * stable
        bounds.append((good, f"at most {query.over_stable:g} times {shown}"))
    text = f"{query.name} {value:g}, {' and '.join(text for _, text in bounds)}"
    is_good = all(good for good, _ in bounds)
    return (None if is_good and not is_known else is_good), text


def percent(value: float) -> str:
    """`12.3 %`."""
    return f"{100 * value:.3g} %"


def milliseconds(seconds: float) -> str:
    """`12.3 ms`."""
    return f"{1000 * seconds:.4g} ms"
