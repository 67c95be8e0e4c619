"""What a cluster refuses: what can be mended is waited for, who may not do it is told so."""

from collections.abc import Callable

import pytest

from kfunc.cluster.faults import refusal
from kfunc.errors import ClusterError
from kfunc.rollout.driver import Drive
from kfunc.rollout.record import Record
from kfunc.rollout.state import Rollout
from tests.rollout.worlds import FakeStore, FakeWorld, Health, Killed, record, rollout

QUOTA = 'deployments.apps "iris-candidate" is forbidden: exceeded quota: q, requested: count/deployments.apps=1'
POLICY = 'admission webhook "validation.gatekeeper.sh" denied the request: [x] no latest tags'
NO_RIGHT = 'services.serving.knative.dev "iris" is forbidden: User "ann" cannot patch resource "services" in API group "x"'


def refused(code: int, said: str) -> ClusterError:
    return refusal(code, {"message": said}, "Deployment iris-candidate was not applied", "Deployment")


@pytest.mark.parametrize(
    ("code", "said", "is_locked_out"),
    [(403, QUOTA, False), (403, POLICY, False), (403, NO_RIGHT, True), (401, "Unauthorized", True), (422, "invalid", False)],
)
def test_who_has_no_right_is_told_apart_from_what_a_quota_or_a_policy_refuses(
    code: int, said: str, is_locked_out: bool
) -> None:
    assert refused(code, said).is_locked_out == is_locked_out


@pytest.mark.parametrize(("code", "may_pass"), [(0, True), (429, True), (500, True), (503, True), (403, False), (422, False)])
def test_more_requests_than_it_takes_now_is_no_refusal(code: int, may_pass: bool) -> None:
    assert ClusterError("x", code).may_pass == may_pass


def driven(error: ClusterError, seconds: float = 1e9) -> tuple[FakeStore, Rollout | ClusterError]:
    """A rollout whose changes are refused for some time."""
    world = FakeWorld(Health(), Health())
    store = FakeStore(record(rollout()))

    def refuse() -> None:
        if world.now - world.began < seconds and store.record is not None and not store.record.rollout.winner:
            raise error

    world.before_arrange = refuse
    try:
        return store, Drive(store, world, "me", world.clock, world.sleep).run(lambda rollout, seen: None)
    except ClusterError as raised:
        return store, raised


@pytest.mark.parametrize("said", [QUOTA, POLICY])
def test_a_quota_or_a_policy_is_waited_for_and_then_the_reason(said: str) -> None:
    _, ended = driven(refused(403, said))
    assert isinstance(ended, Rollout)
    assert ended.phase == "rolled-back"
    assert ended.reason.startswith(
        "the cluster did not take up the new revision within 300 s: Deployment iris-candidate was not"
    )
    _, better = driven(refused(403, said), 100)
    assert isinstance(better, Rollout)
    assert better.phase == "promoted"


def test_who_has_no_right_does_not_drive() -> None:
    store, raised = driven(refused(403, NO_RIGHT))
    assert isinstance(raised, ClusterError)
    assert store.record is not None
    assert store.record.rollout.phase == "warming"


def ended_by(kill: Callable[[], None]) -> list[str]:
    """What was tidied up by a driver that is killed while it does so, and by the one that follows."""
    world, tidied = FakeWorld(Health(), Health()), list[str]()
    store = FakeStore(record(rollout()))

    def tidy(ended: Record) -> None:
        assert store.record is not None
        assert not store.record.rollout.has_ended
        tidied.append(ended.rollout.phase)
        if len(tidied) == 1:
            kill()

    for holder in ("first", "second"):
        try:
            Drive(store, world, holder, world.clock, world.sleep, tidy=tidy).run(lambda rollout, seen: None)
        except Killed:
            world.now += 60
    return tidied


def test_it_is_tidied_before_other_commands_may_change_the_function_and_by_whoever_is_left() -> None:
    def kill() -> None:
        raise Killed

    assert ended_by(lambda: None) == ["promoted"]
    assert ended_by(kill) == ["promoted", "promoted"]
