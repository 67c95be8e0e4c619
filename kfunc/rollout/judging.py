"""What one look at the cluster says of the candidates: the checks of a step, and what must end the rollout. Pure."""

from collections.abc import Iterator

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.analysis import Query
from kfunc.rollout.analysis import MOST_BAD_LOOKS, counted, dated, judge, judge_query
from kfunc.rollout.layout import weights
from kfunc.rollout.state import Check, Rollout, Seen, Share, Verdict


def judged(rollout: Rollout, seen: Seen, now: float) -> tuple[Rollout, str]:
    """The rollout with its checks, and those that fail in words."""
    checks = list(_of_figures(rollout)) if rollout.settings.component else []
    if seen.values is None:
        checks += _earlier(rollout)
    else:
        rollout, found = _of_queries(rollout, seen.values)
        checks += found
    checks = [dated(check, rollout.window, now) for check in checks]
    failed = "; ".join(check.text for check in checks if check.verdict == "fail")
    return replace(rollout, checks=checks), failed


def remembered(rollout: Rollout) -> Rollout:
    """At the end of a step: what the stable revision showed in it, for steps in which it gets next to nothing."""
    if not _stable_is_asked(rollout):
        return rollout
    rollout = replace(rollout, stable_values=rollout.stable_values | rollout.window.values)
    sample, known = rollout.window.samples.get(rollout.stable.tag), rollout.reference
    if sample is None or sample.requests <= 0:
        return rollout
    enough = rollout.settings.analysis.min_requests
    if known is None or sample.requests >= min(enough, known.requests):
        return replace(rollout, reference=sample)
    return rollout


def _stable_is_asked(rollout: Rollout) -> bool:
    return weights(rollout).get(rollout.stable.tag, 0) > 0


def _of_figures(rollout: Rollout) -> Iterator[Check]:
    """A comparison needs requests of every variant; else the candidate's count."""
    analysis = rollout.settings.analysis
    needed = analysis.min_requests
    if rollout.phase == "switched" or (rollout.strategy == "blue-green" and analysis.load is UNSET):
        needed = 0
    if rollout.strategy == "ab":
        yield counted(rollout, rollout.stable.tag, needed)
    for share in rollout.candidates:
        yield from judge(rollout, share.tag, needed)


def _earlier(rollout: Rollout) -> Iterator[Check]:
    """Where Prometheus was not asked this time: what it said before."""
    known = {(check.name, check.tag): check for check in rollout.checks}
    for query, share in _asked(rollout):
        waiting = Check(query.name, share.tag, "unsure", f"{query.name}: not asked yet")
        yield known.get((query.name, share.tag), waiting)


def _of_queries(rollout: Rollout, values: dict[str, dict[str, float | None]]) -> tuple[Rollout, list[Check]]:
    """The checks of its answers; one that is out of bounds fails when it was so often enough in a row."""
    if _stable_is_asked(rollout):
        fresh = {name: value for name, of in values.items() if (value := of.get(rollout.stable.tag)) is not None}
        rollout = replace(rollout, window=replace(rollout.window, values=rollout.window.values | fresh))
    stable = rollout.stable_values | rollout.window.values
    looks, checks = dict(rollout.bad_looks), []
    for query, share in _asked(rollout):
        key = f"{query.name} {share.tag}"
        is_good, text = judge_query(query, values.get(query.name, {}).get(share.tag), stable.get(query.name))
        looks[key] = looks.get(key, 0) + 1 if is_good is False else 0
        verdict: Verdict = "pass" if is_good else "fail" if looks[key] >= MOST_BAD_LOOKS else "unsure"
        checks.append(Check(query.name, share.tag, verdict, text))
    return replace(rollout, bad_looks=looks), checks


def _asked(rollout: Rollout) -> Iterator[tuple[Query, Share]]:
    for share in rollout.candidates:
        for query in rollout.settings.analysis.queries:
            yield query, share
