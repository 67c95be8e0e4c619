"""What a rollout may take for good: what was read, and read of late; and what ends it where pods or promotions stay away."""

from typing import Any, cast

import pytest
from msgspec.structs import replace

from kfunc.cluster.connection import Cluster, Reply
from kfunc.config.analysis import Load
from kfunc.errors import ClusterError
from kfunc.rollout.commands import RolloutRefused, aborted
from kfunc.rollout.deciding import BARE_S, decide, taken_up
from kfunc.rollout.driver import Drive
from kfunc.rollout.measuring import MOST_PODS, scrape
from kfunc.rollout.record import Record
from kfunc.rollout.state import Decision, Pod, Rollout, Seen, Window
from kfunc.rollout.statistics import Sample
from tests.rollout.worlds import FakeStore, FakeWorld, Health, drive, record, rollout

FORBIDDEN = (
    b'{"kind":"Status","message":"pods \\"b-1\\" is forbidden: User \\"ann\\" cannot get resource \\"pods/proxy\\" in API group'
    b' \\"\\" in the namespace \\"default\\""}'
)


class Pods:
    """A cluster whose pods answer with what is given, by name; counters otherwise."""

    def __init__(self, **answers: Reply | ClusterError) -> None:
        self.answers, self.asked = answers, list[str]()

    def ask_pod(self, namespace: str, pod: str, port: int, asked: str, timeout_s: float = 5.0) -> Reply:
        self.asked.append(pod)
        found = self.answers.get(pod.partition("-")[0], Reply(200, b'kfunc_requests_total{code="200"} 7\n'))
        if isinstance(found, ClusterError):
            raise found
        return found


def pod(name: str, second: int = 0) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-11-25T10:00:{second:02}Z"}
    return {"metadata": {"name": name}, "status": {"conditions": [ready]}}


def test_the_candidate_is_read_however_many_pods_the_stable_revision_has() -> None:
    pods = {"stable": [pod(f"a-{number}", number % 60) for number in range(80)], "candidate": [pod("b-1")]}
    cluster = Pods()
    found = scrape(cast(Cluster, cluster), "default", pods, 9095)
    assert "b-1" in found.counters
    assert (len(found.counters), len(cluster.asked)) == (MOST_PODS + 1, MOST_PODS + 1)
    assert {"a-59", "a-30"} <= set(cluster.asked)
    assert "a-0" not in cluster.asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Reply(403, FORBIDDEN), "ann may not get pods/proxy"),
        (Reply(404, b"not found"), "port 9095 answers 404"),
        (ClusterError("timed out"), "timed out"),
    ],
)
def test_why_a_revision_cannot_be_read_is_told(answer: Reply | ClusterError, why: str) -> None:
    found = scrape(cast(Cluster, Pods(b=answer)), "default", {"stable": [pod("a-1")], "candidate": [pod("b-1")]}, 9095)
    assert list(found.counters) == ["a-1"]
    assert found.failure.startswith("the metrics of b-1 cannot be read: ")
    assert why in found.failure


class Blind(FakeWorld):
    """Pods whose counters cannot be read from a moment on."""

    blind_from = 0.0

    def look(self, record: Record, now: float) -> Seen:
        seen = super().look(record, now)
        if now < self.blind_from:
            return replace(seen, why="")
        pods = {tag: [replace(one, counters=None) for one in own] for tag, own in seen.pods.items()}
        return replace(seen, pods=pods, why="the metrics of b-1 cannot be read")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"strategy": "canary"}, "step 5 %: not passed within 120 s"),
        ({"strategy": "blue-green", "promotion": "auto", "interval_s": 5.0, "keep_s": 60.0}, "before the switch: not passed"),
    ],
)
def test_what_cannot_be_read_is_not_good_and_the_reason_is_told(fields: dict[str, Any], where: str) -> None:
    ended = drive(Blind(Health(), Health(error_rate=1.0)), FakeStore(record(rollout(max_step_s=120, **fields))))
    assert ended.phase == "rolled-back"
    assert ended.reason.startswith(where)
    assert "not read so far" in ended.reason
    assert ended.reason.endswith("the metrics of b-1 cannot be read")


def test_a_switch_that_nobody_can_judge_any_more_is_taken_back() -> None:
    world = Blind(Health(), Health())
    world.blind_from = world.began + 30
    one = rollout("blue-green", promotion="auto", interval_s=5, keep_s=60, max_step_s=120)
    ended = drive(world, FakeStore(record(one)))
    assert ended.phase == "rolled-back"
    assert ended.reason.startswith("after the switch: not sure within 120 s")
    assert world.weights_seen == [0, 100, 0]


def test_figures_of_long_ago_do_not_pass_a_step() -> None:
    world = Blind(Health(), Health())
    world.blind_from = world.began + 40
    ended = drive(world, FakeStore(record(rollout(max_step_s=120))))
    assert (ended.phase, ended.step) == ("rolled-back", 0)
    assert "not read of late" in ended.reason


def running(**fields: Any) -> Rollout:
    given: dict[str, Any] = {"phase": "running", "step": 2, "is_split": True, "settled_at": 1000.0, "unready_since": 1000.0}
    return rollout(**(given | {"window": Window(1000.0, {"candidate": Sample(1000, 16)})} | fields))


READY = Seen(
    settled=True,
    ready={"stable": True, "candidate": True},
    pods={"stable": [Pod("a", 900.0)], "candidate": [Pod("b", 900.0, Sample(1000, 16))]},
)


def test_what_is_unsure_after_the_switch_is_waited_for_and_not_for_ever() -> None:
    one = running(strategy="blue-green", phase="switched", keep_s=300, max_step_s=600)
    assert decide(one, READY, 1301.0).rollout.phase == "switched"
    later = decide(one, READY, 1601.0).rollout
    assert (later.phase, later.reason.partition(": error")[0]) == (
        "rolling-back",
        "after the switch: not sure within 600 s",
    )


@pytest.mark.parametrize(("requests", "load"), [(26, True), (150, True), (300, False)])
def test_one_slow_answer_of_a_few_is_no_reason_to_send_no_more(requests: int, load: bool) -> None:
    slow = 1 + requests // 100
    sample = Sample(requests, 0, [0.1, 1.0], [requests - slow, slow, 0], 1.0)
    window = Window(1000.0, {"candidate": sample})
    one = running(load=Load(), min_requests=20, p99_ms=100, window=window, max_step_s=120)
    found = decide(one, READY, 1001.0)
    assert [check.verdict for check in found.rollout.checks if check.name == "p99"] == ["unsure"]
    assert found.load == load


def decided(one: Rollout, seen: Seen, *times: float) -> Decision:
    for now in times:
        found = decide(one, seen, now)
        one = found.rollout
    return found


BARE = replace(READY, ready={"stable": True, "candidate": False}, pods={"stable": READY.pods["stable"]})


def test_a_candidate_with_traffic_and_no_pod_is_not_waited_for_long() -> None:
    assert decided(running(), BARE, 1001.0, 1001.0 + BARE_S - 1).rollout.phase == "running"
    ended = decided(running(), BARE, 1001.0, 1001.0 + BARE_S).rollout
    assert (ended.phase, ended.reason) == ("rolling-back", "step 50 %: no pod of iris-b was ready for 20 s")


def test_a_candidate_that_will_have_no_pod_any_more_is_taken_back_at_once() -> None:
    ended = decide(running(), replace(BARE, broken={"candidate": "its image is gone"}), 1001.0).rollout
    assert ended.reason == "step 50 %: iris-b has no ready pod: its image is gone"


def test_a_preview_has_the_time_of_a_new_revision_since_nobody_asks_it() -> None:
    one = running(strategy="blue-green")
    assert decided(one, BARE, 1001.0, 1290.0).rollout.phase == "running"
    ended = decided(one, BARE, 1001.0, 1301.0).rollout
    assert ended.reason == "before the switch: no pod of iris-b was ready for 300 s"


def test_one_of_two_pods_that_is_missing_is_called_so() -> None:
    ended = decided(running(warm=2), replace(READY, ready={"candidate": False}), 1001.0, 1301.0).rollout
    assert ended.reason == "step 50 %: fewer than 2 pods of iris-b were ready for 300 s"


def test_who_takes_a_rollout_up_counts_from_then() -> None:
    old = taken_up(running(strategy="ab", bare_since=1000.0), 90_000.0)
    assert decide(old, BARE, 90_001.0).rollout.phase == "running"


LATE: dict[str, tuple[Rollout, Seen]] = {
    "not there yet": (rollout(), Seen(why="the pod is pending")),
    "the split not in effect": (running(settled_at=0.0), replace(READY, settled=False)),
    "too few requests": (running(window=Window(1000.0, {"candidate": Sample(30)})), READY),
    "no pod": (running(bare_since=1000.0), BARE),
    "a preview": (running(strategy="blue-green", component=""), replace(READY, settled=False)),
    "a switch that is asked for": (running(strategy="blue-green", asked_at=1000.0), replace(READY, settled=False)),
    "switched": (running(strategy="blue-green", phase="switched"), READY),
    "a comparison": (running(strategy="ab"), READY),
    "promoting": (rollout(phase="promoting", winner="candidate", is_split=True), replace(READY, settled=False)),
}


@pytest.mark.parametrize("what", LATE)
def test_a_driver_that_was_away_is_not_paid_for_by_the_rollout(what: str) -> None:
    one, seen = LATE[what]
    found = decide(taken_up(one, 90_000.0), seen, 90_000.0).rollout
    assert (found.phase, found.asked_at > 0) == (one.phase, one.asked_at > 0)


STUCK = Seen(settled=False, why="the webhook of others refuses it", ready={"stable": True, "candidate": True})


def promoting(stage: Any, **fields: Any) -> Rollout:
    return rollout(phase="promoting", winner="candidate", stage=stage, is_split=True, **fields)


@pytest.mark.parametrize("stage", ["shift", "adopt"])
def test_a_promotion_that_does_not_take_effect_is_taken_back(stage: str) -> None:
    assert decide(promoting(stage), STUCK, 1299.0).rollout.phase == "promoting"
    ended = decide(promoting(stage), STUCK, 1300.0).rollout
    assert (ended.phase, ended.stage, ended.winner) == ("rolling-back", "shift", "stable")
    assert ended.reason == "the promotion did not take effect within 300 s: the webhook of others refuses it"


def test_routes_have_their_time_however_quickly_pods_become_ready() -> None:
    assert decide(promoting("adopt", ready_timeout_s=10), STUCK, 1059.0).rollout.phase == "promoting"
    assert decide(promoting("adopt", ready_timeout_s=10), STUCK, 1060.0).rollout.phase == "rolling-back"


def test_a_deployment_has_its_time_for_each_quarter_of_its_pods() -> None:
    assert not decide(promoting("adopt", mode="raw"), STUCK, 2199.0).stuck
    assert decide(promoting("adopt", mode="raw"), STUCK, 2200.0).stuck


def test_requests_stay_with_the_candidates_pods_where_the_deployment_does_not_get_its_own() -> None:
    late = decide(promoting("adopt", mode="raw"), STUCK, 2200.0)
    assert late.rollout.phase == "promoting"
    assert late.stuck == (
        "the promotion of iris did not take effect within 1200 s: the webhook of others refuses it; "
        "requests stay with iris-b (kfunc rollout abort iris takes it back)"
    )
    shift = decide(promoting("shift", mode="raw"), STUCK, 2200.0).rollout
    assert shift.phase == "rolling-back"


@pytest.mark.parametrize("stage", ["shift", "adopt", "merge"])
def test_a_promotion_can_be_aborted_until_the_old_one_goes(stage: str) -> None:
    assert aborted(promoting(stage), "asked for", 0.0).phase == "rolling-back"
    with pytest.raises(RolloutRefused, match="undo"):
        aborted(promoting("clean"), "asked for", 0.0)


def test_what_is_waited_for_is_kept_for_those_who_ask() -> None:
    world = FakeWorld(Health(), Health(ready_after_s=60.0))
    store = FakeStore(record(rollout()))
    Drive(store, world, "me", world.clock, world.sleep).tick(lambda rollout, seen: None)
    assert store.record is not None
    assert store.record.rollout.why == "the pod is pending"


@pytest.mark.parametrize(("mode", "split_at"), [("knative", 1000.0), ("raw", 1005.0)])
def test_gateways_have_their_time_to_learn_of_a_deployments_pods_before_requests_are_sent_to_them(
    mode: str, split_at: float
) -> None:
    one = rollout("canary", phase="warming", mode=mode)
    ready = Seen(settled=True, ready={"stable": True, "candidate": True})
    now = 1000.0
    while one.phase == "warming":
        one = decide(one, ready, now).rollout
        now += 1.0
    assert (one.phase, now - 1.0) == ("running", split_at)
