"""Whole rollouts on a cluster of numbers: what ends them, and how."""

import pytest
from msgspec.structs import replace

from kfunc.config.analysis import Load, Query
from kfunc.rollout.commands import RolloutRefused, aborted, is_shown, pause, promoted, resume
from kfunc.rollout.driver import Drive, Taken
from kfunc.rollout.record import LEASE_S, Driver, Record
from kfunc.rollout.state import Rollout, Seen, Share
from tests.rollout.worlds import FakeStore, FakeWorld, Health, drive, record, rollout


def run(one: Rollout, candidate: Health, stable: Health | None = None, per_second: float = 50.0) -> tuple[Rollout, FakeWorld]:
    world = FakeWorld(stable or Health(), candidate, per_second)
    return drive(world, FakeStore(record(one))), world


def test_a_good_candidate_goes_through_all_steps_and_is_promoted() -> None:
    ended, world = run(rollout(), Health())
    assert ended.phase == "promoted"
    assert world.weights_seen == [0, 5, 25, 50, 100]
    assert world.now - world.began >= 4 * 60


def test_nothing_is_left_of_a_rollout_that_has_ended() -> None:
    _, world = run(rollout(), Health())
    assert (world.layout.tagged, world.layout.warm, world.layout.is_split, world.layout.plain) == (False, 0, False, "candidate")


@pytest.mark.parametrize(
    ("fields", "health", "reason"),
    [
        ({}, Health(error_rate=0.3), "step 5 %: error rate 30 %"),
        ({"p99_ms": 100}, Health(seconds=0.5), "step 5 %: p99"),
        ({"p99_over_stable": 2.0}, Health(seconds=0.5), "at most 2 times as long"),
        ({"error_rate": 1.0, "error_rate_over_stable": 0.05}, Health(error_rate=0.4), "at most 5 % more"),
        ({}, Health(ready_after_s=1e9), "iris-b was not ready within 300 s: the pod is pending"),
        ({}, Health(crashes_at=90.0), "containers of iris-b were started again 1 times: OOMKilled"),
    ],
)
def test_a_bad_candidate_is_taken_back_with_the_reason(fields: dict[str, float], health: Health, reason: str) -> None:
    ended, world = run(rollout(**fields), health)
    assert ended.phase == "rolled-back"
    assert reason in ended.reason
    assert world.weights_seen[-1] == 0
    assert world.layout.plain == "stable"


def test_errors_that_begin_late_are_noticed_in_a_later_step() -> None:
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout()))
    driver = Drive(store, world, "me", world.clock, world.sleep)
    while driver.tick(lambda rollout, seen: None).rollout.step < 2:
        world.sleep(1.0)
    world.health["candidate"].error_rate = 0.2
    assert "step 50 %: error rate" in drive(world, store).reason


def test_a_canary_without_requests_is_taken_back_when_its_time_is_over() -> None:
    ended, _ = run(rollout(max_step_s=600), Health(), per_second=0.0)
    assert ended.phase == "rolled-back"
    assert "not passed within 600 s: 0 requests, 50 are needed" in ended.reason


def test_requests_are_sent_while_there_are_too_few_and_no_longer() -> None:
    world = FakeWorld(Health(), Health(), per_second=0.0)
    assert drive(world, FakeStore(record(rollout(load=Load())))).phase == "promoted"
    assert not world.loaded


def test_the_errors_that_stable_has_as_well_are_nobodys_fault() -> None:
    ended, _ = run(rollout(error_rate=1.0, error_rate_over_stable=0.05), Health(error_rate=0.3), Health(error_rate=0.3))
    assert ended.phase == "promoted"


@pytest.mark.parametrize(("exclude_start_s", "phase"), [(8.0, "promoted"), (0.0, "rolled-back")])
def test_requests_of_a_pods_first_seconds_do_not_count(exclude_start_s: float, phase: str) -> None:
    world = FakeWorld(Health(), Health())
    sleep = world.sleep

    def cold(seconds: float) -> None:
        if world.layout.is_split and world.now < world.began + 8.0:
            world.counts["candidate"][0] += 20.0
            world.counts["candidate"][1] += 20.0
        sleep(seconds)

    world.sleep = cold  # type: ignore[method-assign]
    assert drive(world, FakeStore(record(rollout(exclude_start_s=exclude_start_s)))).phase == phase


def test_blue_green_waits_at_its_preview_until_it_is_promoted() -> None:
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout("blue-green", promotion="manual")))
    waiting = drive(world, store)
    assert (waiting.phase, world.weights_seen[-1]) == ("running", 0)
    assert store.record is not None
    store.record = replace(store.record, rollout=promoted(waiting, "", world.now))
    ended = drive(world, store)
    assert (ended.phase, world.weights_seen) == ("promoted", [0, 100])


def test_blue_green_is_switched_back_at_once() -> None:
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout("blue-green", promotion="auto", interval_s=5)))
    driver = Drive(store, world, "me", world.clock, world.sleep)
    while driver.tick(lambda rollout, seen: None).rollout.phase != "switched":
        world.sleep(1.0)
    driver.tick(lambda rollout, seen: None)
    assert world.layout.weights["candidate"] == 100
    assert store.record is not None
    store.record = replace(store.record, rollout=aborted(store.record.rollout, "asked for", world.now))
    driver.tick(lambda rollout, seen: None)
    assert world.layout.weights["candidate"] == 0
    assert drive(world, store).phase == "rolled-back"


def test_blue_green_that_fails_after_the_switch_goes_back() -> None:
    ended, world = run(rollout("blue-green", promotion="auto", interval_s=5), Health(error_rate=0.5))
    assert ended.phase == "rolled-back"
    assert "after the switch: error rate" in ended.reason
    assert world.weights_seen == [0, 100, 0]


def test_a_comparison_rests_with_its_requests_and_ends_with_the_variant_that_is_named() -> None:
    world = FakeWorld(Health(), Health())
    shares = [Share("stable", "iris-a", 50), Share("candidate", "iris-b", 50)]
    store = FakeStore(record(rollout("ab", shares=shares)))
    resting = drive(world, store)
    assert (resting.phase, world.layout.weights) == ("running", {"stable": 50, "candidate": 50})
    assert is_shown(resting)
    assert not is_shown(replace(resting, reason=""))
    with pytest.raises(RolloutRefused, match="stable, candidate"):
        promoted(resting, "", world.now)
    assert store.record is not None
    store.record = replace(store.record, rollout=promoted(resting, "stable", world.now))
    assert drive(world, store).phase == "promoted"
    assert world.layout.plain == "stable"


def test_undo_gives_everything_to_the_old_revision_as_soon_as_it_is_ready() -> None:
    ended, world = run(rollout("undo"), Health(ready_after_s=3.0), per_second=0.0)
    assert ended.phase == "promoted"
    assert world.weights_seen == [0, 100]
    assert world.now - world.began < 30


def test_a_paused_rollout_stays_and_is_still_taken_back_when_it_fails() -> None:
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout()))
    driver = Drive(store, world, "me", world.clock, world.sleep)
    while driver.tick(lambda rollout, seen: None).rollout.step < 1:
        world.sleep(1.0)
    assert store.record is not None
    store.record = replace(store.record, rollout=pause(store.record.rollout, world.now))
    for _ in range(600):
        driver.tick(lambda rollout, seen: None)
        world.sleep(10.0)
    assert store.record.rollout.step == 1
    store.record = replace(store.record, rollout=resume(store.record.rollout, world.now))
    world.health["candidate"].error_rate = 0.5
    assert drive(world, store).phase == "rolled-back"


def test_a_second_driver_is_refused_while_the_first_is_heard_of() -> None:
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout()))
    Drive(store, world, "first", world.clock, world.sleep).tick(lambda rollout, seen: None)
    with pytest.raises(Taken, match="first drives this rollout"):
        drive(world, store, "second")
    world.now += 60
    assert drive(world, store, "second").phase == "promoted"


def test_a_look_that_takes_long_leaves_the_driver_its_whole_time() -> None:
    world = FakeWorld(Health(), Health())
    store, look = FakeStore(record(rollout())), world.look

    def slow(record: Record, now: float) -> Seen:
        world.now += 40
        return look(record, now)

    world.look = slow  # type: ignore[method-assign]
    Drive(store, world, "me", world.clock, world.sleep).tick(lambda rollout, seen: None)
    assert store.record is not None
    assert store.record.driver.until - world.now == LEASE_S


def test_a_driver_that_was_overtaken_changes_nothing_any_more() -> None:
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout()))
    late = Drive(store, world, "late", world.clock, world.sleep)
    late.tick(lambda rollout, seen: None)
    assert store.record is not None
    store.record = replace(store.record, driver=Driver("other", world.now + 1e6))
    arranged = world.layout
    with pytest.raises(Taken):
        late.run(lambda rollout, seen: None)
    assert world.layout == arranged


@pytest.mark.parametrize("command", [pause, lambda one, now: promoted(one, "", now), lambda one, now: aborted(one, "", now)])
def test_commands_are_refused_when_the_rollout_has_ended(command: object) -> None:
    assert callable(command)
    with pytest.raises(RolloutRefused, match="no rollout of iris is under way: the last one was promoted"):
        command(rollout(phase="promoted"), 0.0)


def test_a_server_without_figures_of_its_own_is_judged_by_queries_alone() -> None:
    query = Query(name="q", query="$revision", max=1.0)
    world = FakeWorld(Health(), Health())
    ended = drive(world, FakeStore(record(rollout(component="", metrics_port=0, queries=[query], max_step_s=90))))
    assert ended.phase == "rolled-back"
    assert "q: not asked yet" in ended.reason
    good = drive(FakeWorld(Health(), Health()), FakeStore(record(rollout(component="", metrics_port=0))))
    assert good.phase == "promoted"


def test_without_knative_only_what_func_yaml_or_the_first_variant_describes_is_promoted() -> None:
    shares = [Share("a", "iris", 40), Share("b", "iris-candidate", 30), Share("c", "iris-c", 30)]
    one = rollout("ab", shares=shares, mode="raw", rendered="iris-candidate", phase="running")
    assert promoted(one, "b", 0.0).winner == "b"
    with pytest.raises(RolloutRefused, match="with mode: raw"):
        promoted(one, "c", 0.0)
