"""What a look says of a step: figures against bounds, beside the stable revision, of every variant, and of queries."""

from bisect import bisect_left
from math import exp
from statistics import NormalDist
from typing import Any

import pytest

from kfunc.config.analysis import Query
from kfunc.rollout.deciding import switch
from kfunc.rollout.judging import judged, remembered
from kfunc.rollout.state import Rollout, Seen, Share, Window
from kfunc.rollout.statistics import Sample
from kfunc.telemetry.metrics import REQUEST_BUCKETS
from tests.rollout.worlds import FakeStore, FakeWorld, Health, drive, record, rollout

BOUNDS = [0.05, 0.1, 0.25, 0.5]


def running(stable: Sample | None = None, candidate: Sample | None = None, **fields: Any) -> Rollout:
    samples = {"stable": stable or Sample(), "candidate": candidate or Sample()}
    return rollout(
        **(
            {"phase": "running", "is_split": True, "window": Window(1000.0, samples, read_at=dict.fromkeys(samples, 1000.0))}
            | fields
        )
    )


def answers(*buckets: float, errors: float = 0.0) -> Sample:
    return Sample(sum(buckets), errors, BOUNDS, list(buckets), 1.0)


def verdicts(one: Rollout, seen: Seen | None = None) -> dict[str, tuple[str, str]]:
    found, _ = judged(one, seen or Seen(), 1000.0)
    return {check.name: (check.verdict, check.text) for check in found.checks}


@pytest.mark.parametrize(
    ("buckets", "p99_ms", "verdict", "text"),
    [
        ((0, 0, 200, 0, 0), 150, "unsure", "p99 248.5 ms of 200 answers, at most 150 ms"),
        ((0, 989, 11, 0, 0), 150, "pass", "p99 113.6 ms of 1000 answers, at most 150 ms"),
        ((0, 0, 200, 0, 0), 250, "pass", "p99 248.5 ms"),
        ((0, 0, 0, 200, 0), 250, "fail", "p99 497.5 ms"),
        ((0, 47, 0, 3, 0), 250, "unsure", "p99 458.3 ms of 50 answers"),  # chance alone makes 3 of 50 one time in 70
        ((0, 0, 0, 0, 200), 500, "fail", "p99 over 500 ms"),
        ((0, 0, 0, 0, 9), 500, "unsure", "p99 over 500 ms"),
        ((0, 0, 0, 0, 9), 600, "unsure", "p99 over 500 ms"),
    ],
)
def test_p99_is_kept_by_its_estimate_and_broken_by_whole_buckets(
    buckets: tuple[float, ...], p99_ms: float, verdict: str, text: str
) -> None:
    found = verdicts(running(candidate=answers(*buckets), p99_ms=p99_ms))["p99"]
    assert found[0] == verdict
    assert text in found[1]


@pytest.mark.parametrize("p99_ms", [1.5, 3, 60, 150, 777, 7000])
@pytest.mark.parametrize(("slower", "found"), [(0.9, {"pass"}), (1.1, {"unsure", "fail"}), (1.6, {"fail"})])
def test_any_bound_from_1_ms_to_10_s_is_judged_well(p99_ms: float, slower: float, found: set[str]) -> None:
    spread = NormalDist(0, 0.5)
    middle_s = slower * p99_ms / 1000 / exp(spread.inv_cdf(0.99))
    counts = [0.0] * (len(REQUEST_BUCKETS) + 1)
    for number in range(20_000):
        counts[bisect_left(REQUEST_BUCKETS, middle_s * exp(spread.inv_cdf((number + 0.5) / 20_000)))] += 1
    sample = Sample(20_000, 0, list(REQUEST_BUCKETS), counts, 1.0)
    assert verdicts(running(candidate=sample, p99_ms=p99_ms))["p99"][0] in found


@pytest.mark.parametrize("errors", [1, 2])
def test_one_error_or_two_of_the_first_requests_end_nothing(errors: int) -> None:
    assert verdicts(running(candidate=Sample(20, errors), error_rate=0.005))["error rate"][0] == "unsure"


def test_without_figures_of_the_stable_revision_a_comparison_is_not_sure() -> None:
    found = verdicts(running(candidate=answers(100, 0, 0, 0, 0), error_rate_over_stable=0.1, p99_over_stable=2.0))
    for name in "error rate over stable", "p99 over stable":
        assert found[name][0] == "unsure"
        assert "nothing of iris-a to compare with" in found[name][1]


def test_of_nothing_but_other_requests_p99_is_judged_only_where_requests_are_needed() -> None:
    asked: dict[str, Any] = {"p99_ms": 100, "p99_over_stable": 2.0}
    assert {"p99", "p99 over stable"} <= verdicts(running(candidate=Sample(60, 0), **asked)).keys()
    assert not {"p99", "p99 over stable"} & verdicts(running(candidate=Sample(60, 0), phase="switched", **asked)).keys()


@pytest.mark.parametrize("fields", [{"error_rate_over_stable": 0.05}, {"p99_over_stable": 2.0}])
def test_blue_green_is_compared_with_the_stable_revision_after_the_switch(fields: dict[str, float]) -> None:
    bad = Health(error_rate=0.4, seconds=0.5)
    world = FakeWorld(Health(), bad)
    ended = drive(world, FakeStore(record(rollout("blue-green", promotion="auto", error_rate=1.0, **fields))))
    assert (ended.phase, world.weights_seen) == ("rolled-back", [0, 100, 0])


def test_a_canary_that_begins_with_all_requests_is_not_passed_without_the_comparison_that_is_asked_for() -> None:
    world = FakeWorld(Health(), Health(error_rate=0.5))
    asked: dict[str, Any] = {"steps": [100], "error_rate": 1.0, "error_rate_over_stable": 0.05, "max_step_s": 120}
    ended = drive(world, FakeStore(record(rollout(**asked))))
    assert ended.phase == "rolled-back"


def test_a_comparison_has_its_requests_when_every_variant_has_them() -> None:
    shares = [Share("control", "iris-a", 50), Share("treatment", "iris-b", 50)]
    window = Window(1000.0, {"control": Sample(1), "treatment": Sample(60)}, read_at={"control": 1000.0, "treatment": 1000.0})
    found, _ = judged(rollout("ab", phase="running", shares=shares, window=window), Seen(), 1000.0)
    told = [(check.tag, check.verdict, check.text) for check in found.checks if check.name == "requests"]
    assert told == [
        ("control", "unsure", "control: 1 requests, 50 are needed"),
        ("treatment", "pass", "treatment: 60 requests, 50 are needed"),
    ]


QUERY = Query(name="queue", query="$revision", over_stable=2.0)


def asked(one: Rollout, stable: float | None, candidate: float | None) -> Rollout:
    return judged(one, Seen(values={"queue": {"stable": stable, "candidate": candidate}}), 1000.0)[0]


def test_a_query_is_compared_with_what_the_stable_revision_showed_while_it_had_traffic() -> None:
    one = asked(running(queries=[QUERY], component=""), 5.0, 8.0)
    assert one.checks[0].verdict == "pass"
    last = running(queries=[QUERY], component="", step=3, stable_values=remembered(one).stable_values)
    for stable in 0.0, None:
        found = asked(last, stable, 8.0)
        assert (found.checks[0].verdict, found.checks[0].text) == ("pass", "queue 8, at most 2 times the stable 5")


def test_a_query_that_has_nothing_to_be_compared_with_is_not_sure_and_never_fails() -> None:
    one = running(queries=[QUERY], component="")
    for _ in range(5):
        one = asked(one, None, 8.0)
    assert (one.checks[0].verdict, one.bad_looks) == ("unsure", {"queue candidate": 0})
    assert "the stable one's, which has none" in one.checks[0].text


def test_a_query_fails_when_it_was_out_of_bounds_three_times_in_a_row() -> None:
    one, found = running(queries=[QUERY], component=""), []
    for value in 11.0, 11.0, 3.0, 11.0, 11.0, 11.0:
        one = asked(one, 5.0, value)
        found.append(one.checks[0].verdict)
    assert found == ["unsure", "unsure", "pass", "unsure", "unsure", "fail"]


def test_where_prometheus_was_not_asked_a_query_has_its_last_verdict() -> None:
    one = asked(running(queries=[QUERY], component=""), 5.0, 8.0)
    assert judged(one, Seen(), 1000.0)[0].checks == one.checks


def test_a_switch_keeps_the_stable_figures() -> None:
    waiting = running(stable=answers(500, 0, 0, 0, 0), strategy="blue-green")
    assert switch(waiting, 2000.0).reference == answers(500, 0, 0, 0, 0)
