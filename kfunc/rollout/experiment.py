"""The result of a comparison: each variant's figures with their intervals, and how sure a difference is. Pure."""

from msgspec import Struct

from kfunc.rollout.state import Rollout
from kfunc.rollout.statistics import Interval, Sample, difference, holm, mean, p_value, proportion, quantile

SURE = 0.05
"""A difference that chance explains less often than this is one."""


class Row(Struct, frozen=True):
    """One variant. Times in seconds; intervals hold the true value in 95 of 100 comparisons.

    `gap` is its error rate less the first variant's, `chance` how often chance alone makes the two differ so much,
    corrected for the number of variants; `is_different`: sure enough. Of the first variant they are not there.
    """

    variant: str
    revision: str
    weight: int
    requests: float
    errors: float
    error_rate: Interval
    p50: Interval
    p99: Interval
    mean_s: float
    gap: Interval | None = None
    chance: float | None = None
    is_different: bool = False


def table(rollout: Rollout) -> list[Row]:
    """The rows, the first variant's first: the others are compared with it."""
    samples = [rollout.window.samples.get(share.tag, Sample()) for share in rollout.shares]
    first = samples[0]
    chances = holm([p_value(one.errors, one.requests, first.errors, first.requests) for one in samples[1:]])
    rows = []
    for number, (share, sample) in enumerate(zip(rollout.shares, samples, strict=True)):
        compared = number > 0 and sample.requests > 0 and first.requests > 0
        rows.append(
            Row(
                share.tag,
                share.revision,
                share.weight,
                sample.requests,
                sample.errors,
                proportion(sample.errors, sample.requests),
                quantile(sample, 0.5),
                quantile(sample, 0.99),
                mean(sample),
                difference(sample.errors, sample.requests, first.errors, first.requests) if compared else None,
                chances[number - 1] if compared else None,
                compared and chances[number - 1] < SURE,
            )
        )
    return rows
