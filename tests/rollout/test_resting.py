"""What rests until somebody says something, and what is stuck: neither a bad look nor a long time takes it back."""

from typing import Any, cast

import pytest
from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.config.analysis import Load
from kfunc.errors import ClusterError
from kfunc.rollout.commands import promoted
from kfunc.rollout.deciding import decide, taken_up
from kfunc.rollout.driver import Drive, Stuck
from kfunc.rollout.record import Record
from kfunc.rollout.state import Decision, Pod, Rollout, Seen, Window
from kfunc.rollout.statistics import Sample
from kfunc.rollout.worlds import world_of
from tests.rollout.worlds import FakeStore, FakeWorld, Health, record, rollout

DAY_S = 86_400.0
COUNTED = Sample(1000, 0, [0.1], [1000, 0], 1.0)
GOOD = Seen(
    settled=True,
    ready={"stable": True, "candidate": True},
    pods={"stable": [Pod("a", 900.0, COUNTED)], "candidate": [Pod("b", 900.0, COUNTED)]},
)
UNREAD = replace(GOOD, pods={"candidate": [Pod("b", 900.0)], "stable": [Pod("a", 900.0)]}, why="its metrics cannot be read")
BEHIND = replace(GOOD, settled=False, why="4 of 10 pods of iris-b are ready")


def resting(strategy: str, **fields: Any) -> Rollout:
    """A preview, or a canary at its last step, that somebody is to promote."""
    given: dict[str, Any] = {"phase": "running", "is_split": True, "settled_at": 1000.0, "unready_since": 1000.0, "step": 3}
    window = Window(1000.0, {"candidate": COUNTED}, {"a": COUNTED, "b": COUNTED})
    return rollout(strategy, promotion="manual", window=window, **(given | fields))


def looked(one: Rollout, seen: Seen, start: float, seconds: float) -> Decision:
    """A look every 5 s."""
    now = start
    while True:
        found = decide(one, seen, now)
        one, now = found.rollout, now + 5
        if now > start + seconds or one.phase not in ("running", "switched"):
            return found


@pytest.mark.parametrize("strategy", ["blue-green", "canary"])
@pytest.mark.parametrize("bad", [UNREAD, BEHIND], ids=["not read", "a pod less"])
def test_what_rests_is_not_taken_back_by_some_bad_looks(strategy: str, bad: Seen) -> None:
    for_hours = looked(resting(strategy), GOOD, 1100.0, 7200)
    assert for_hours.rests
    then = looked(for_hours.rollout, bad, 8400.0, 600)
    assert then.rollout.phase == "running"
    assert looked(then.rollout, GOOD, 9100.0, 10).rests


def test_a_preview_rests_whether_it_has_the_pods_for_a_switch_or_not() -> None:
    assert decide(resting("blue-green"), BEHIND, 1100.0).rests


def test_what_nobody_can_judge_for_the_longest_time_of_a_step_is_taken_back() -> None:
    good = looked(resting("blue-green"), GOOD, 1100.0, 7200).rollout
    ended = looked(good, UNREAD, 8400.0, 1900).rollout
    assert (ended.phase, "not passed within 1800 s" in ended.reason) == ("rolling-back", True)


@pytest.mark.parametrize("phase", ["warming", "rolling-back"])
def test_a_log_that_only_another_machine_has_keeps_nobody_from_driving(phase: Any) -> None:
    one = rollout(phase=phase, winner="stable", load=Load(source="there is no such file"))
    world_of(cast(Cluster, None), one).close()


def test_a_switch_by_itself_does_not_wait_for_pods_for_ever() -> None:
    ended = looked(resting("blue-green", settings=rollout(promotion="auto").settings), BEHIND, 1100.0, 1900).rollout
    assert ended.reason == "before the switch: not passed within 1800 s: 4 of 10 pods of iris-b are ready"


def test_a_promotion_the_next_morning_that_finds_too_few_pods_leaves_the_preview() -> None:
    morning = 1000.0 + DAY_S
    asked = promoted(taken_up(resting("blue-green"), morning), "", morning)
    found = looked(asked, BEHIND, morning, 3000)
    assert (found.rollout.phase, found.rests) == ("running", True)
    assert found.rollout.events[-1].text == "not switched: 4 of 10 pods of iris-b are ready"


class Refusing(FakeWorld):
    """A cluster that does not take up the stages of an end that are named."""

    stages: tuple[str, ...] = ()

    def look(self, record: Record, now: float) -> Seen:
        seen = super().look(record, now)
        rollout = record.rollout
        is_refused = rollout.phase in ("promoting", "rolling-back") and rollout.stage in self.stages
        return replace(seen, settled=False, why="a policy refuses it") if is_refused else seen


def driven(candidate: Health, *stages: str) -> tuple[FakeStore, Rollout | str]:
    world, store = Refusing(Health(), candidate), FakeStore(record(rollout()))
    world.stages = stages
    try:
        return store, Drive(store, world, "me", world.clock, world.sleep).run(lambda rollout, seen: None)
    except Stuck as stuck:
        return store, stuck.message


@pytest.mark.parametrize(
    ("candidate", "stage", "phase", "what"),
    [(Health(), "merge", "promoting", "promotion"), (Health(error_rate=0.5), "shift", "rolling-back", "way back")],
)
def test_an_end_that_the_cluster_does_not_take_up_is_left_with_the_reason(
    candidate: Health, stage: str, phase: str, what: str
) -> None:
    store, told = driven(candidate, stage)
    assert told == (
        f"the {what} of iris did not take effect within 300 s: a policy refuses it; "
        "when that is mended, kfunc rollout resume iris goes on"
    )
    assert store.record is not None
    assert (store.record.rollout.phase, store.record.driver.holder) == (phase, "")


@pytest.mark.parametrize(("candidate", "phase"), [(Health(), "promoted"), (Health(error_rate=0.5), "rolled-back")])
def test_what_cannot_be_removed_is_named_and_the_rollout_ends(candidate: Health, phase: str) -> None:
    _, ended = driven(candidate, "clean")
    assert isinstance(ended, Rollout)
    assert ended.phase == phase
    assert ended.events[-1].text == (
        "something is left over that did not go within 300 s: a policy refuses it; kfunc rollout abort iris tries again"
    )


def test_what_has_ended_is_left_alone_whatever_the_cluster_says_then() -> None:
    world, store, told = Refusing(Health(), Health()), FakeStore(record(rollout())), list[str]()
    world.stages = ("clean",)

    def refuse() -> None:
        assert store.record is not None
        assert not store.record.rollout.has_ended  # others may change the function from now on
        if store.record.rollout.stage == "clean":
            raise ClusterError("failed calling webhook: connection refused", 500)

    world.before_arrange = refuse
    ended = Drive(store, world, "me", world.clock, world.sleep).run(lambda one, seen: told.append(one.phase))
    assert (ended.phase, told[-1]) == ("promoted", "promoted")
    assert store.record is not None
    assert store.record.driver.holder == ""


def test_a_cluster_that_does_not_answer_is_told_while_it_is_waited_for() -> None:
    world, store, whys = FakeWorld(Health(), Health()), FakeStore(record(rollout())), list[str]()
    read, began = store.read, world.now

    def away() -> Record | None:
        if world.now < began + 5 or began + 100 < world.now < began + 120:
            raise ClusterError("no answer from the API")
        return read()

    store.read = away  # type: ignore[method-assign]
    driver = Drive(store, world, "me", world.clock, world.sleep)
    assert driver.run(lambda one, seen: whys.append(seen.why), rollout()).phase == "promoted"
    assert whys[0] == "no answer from the API"
    assert whys.count("no answer from the API") > 20


def test_a_driver_that_cannot_say_that_it_leaves_leaves() -> None:
    world, store = FakeWorld(Health(), Health()), FakeStore(record(rollout()))

    def away() -> Record | None:
        raise ClusterError("no answer from the API")

    store.read = away  # type: ignore[method-assign]
    Drive(store, world, "me", world.clock, world.sleep).leave()


@pytest.mark.parametrize(
    ("via", "stage", "after"), [("knative", "merge", "clean"), ("istio", "merge", "merge"), ("knative", "shift", "shift")]
)
def test_gateways_have_time_after_what_changes_where_requests_go(via: str, stage: str, after: str) -> None:
    given = rollout(via=via, phase="promoting", winner="candidate", stage=stage, is_split=True, propagation_s=5.0)
    assert decide(given, GOOD, 1001.0).rollout.stage == after
