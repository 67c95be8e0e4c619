"""What a rollout changes of Deployments and their autoscalers, and in which order."""

from typing import Any

from msgspec.structs import replace

from kfunc.cluster.kinds import key_of
from kfunc.manifests.plan import Manifest
from kfunc.rollout.objects import Apply, Delete, Difference, by_key, split_of, stated, with_weights
from kfunc.rollout.raw_changes import RawLive, as_candidate, difference
from kfunc.rollout.record import Objects, Record
from kfunc.rollout.state import Rollout, Share
from tests.rollout.test_knative_changes import SINGLE, with_versions
from tests.rollout.worlds import rollout

SHARES = [Share("stable", "iris"), Share("candidate", "iris-candidate")]
SPLIT = split_of(SINGLE, "iris", ["stable", "candidate"])


def deployment(name: str, template: str, replicas: int | None = None, ready: int = 0) -> Manifest:
    """A Deployment whose pods are as it wants them, `ready` of them."""
    spec: dict[str, Any] = {"selector": {"matchLabels": {}}, "template": {"metadata": {"labels": {}}, "spec": template}}
    counts = dict.fromkeys(("updatedReplicas", "replicas", "availableReplicas"), ready)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "3", "generation": 1, "labels": {}},
        "spec": spec | ({"replicas": replicas} if replicas is not None else {}),
        "status": {"observedGeneration": 1, **counts},
    }


def autoscaler(name: str, least: int = 1, most: int = 20) -> Manifest:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": name}, "minReplicas": least, "maxReplicas": most}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "4"},
        "spec": spec,
    }


def scaled_object(name: str, least: int = 0) -> Manifest:
    spec = {"scaleTargetRef": {"name": name}, "minReplicaCount": least, "maxReplicaCount": 20, "triggers": []}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "4"},
        "spec": spec,
    }


SCALED = Objects(
    candidate=[stated(deployment("iris-candidate", "new")), stated(autoscaler("iris-candidate"))],
    split=[SPLIT],
    promoted=[stated(deployment("iris", "new")), stated(autoscaler("iris")), SINGLE],
    before=[stated(deployment("iris", "old", 2)), stated(autoscaler("iris")), SINGLE],
)
FIXED = Objects(
    candidate=[stated(deployment("iris-candidate", "new", 1))],
    split=[SPLIT],
    promoted=[stated(deployment("iris", "new", 1)), SINGLE],
    before=[stated(deployment("iris", "old", 1)), SINGLE],
)


QUEUED = Objects(
    candidate=[stated(deployment("iris-candidate", "new")), stated(scaled_object("iris-candidate"))],
    split=[SPLIT],
    promoted=[stated(deployment("iris", "new")), stated(scaled_object("iris")), SINGLE],
    before=[stated(deployment("iris", "old", 0)), stated(scaled_object("iris")), SINGLE],
)


def state(strategy: Any = "canary", **fields: Any) -> Rollout:
    return rollout(strategy, mode="raw", shares=SHARES, rendered="iris-candidate", is_split=True, **fields)


def compared(one: Rollout, *live: Manifest, objects: Objects = SCALED) -> Difference:
    return difference(Record(one, objects), RawLive(by_key([with_versions(each) for each in live])))


def specs(found: Difference) -> list[tuple[str, str, Any]]:
    """Kind and name of each change, with what it says of the number of pods."""
    said = []
    for change in found.changes:
        if isinstance(change, Apply):
            kind, _, name = key_of(change.manifest)
            spec = change.manifest["spec"]
            said.append((kind, name, spec.get("replicas", spec.get("minReplicas", spec.get("minReplicaCount")))))
        elif isinstance(change, Delete):
            said.append(("no " + change.key[0], change.key[2], None))
    return said


def weighed(stable: int) -> Manifest:
    return with_weights(SPLIT, {"stable": stable, "candidate": 100 - stable}, matches=True)


def test_what_an_autoscaler_chose_is_not_put_back_at_a_rollback() -> None:
    back = state(phase="rolling-back", winner="stable", stage="shift")
    live = [deployment("iris", "old", 10, 10), deployment("iris-candidate", "new", 1, 1)]
    found = compared(back, *live, autoscaler("iris"), autoscaler("iris-candidate"), weighed(50))
    assert specs(found) == [("VirtualService", "live-iris", None)]


def test_on_the_way_back_requests_are_turned_first() -> None:
    back = state(phase="rolling-back", winner="stable", stage="shift")
    found = compared(back, deployment("iris", "new", 3, 3), weighed(0), autoscaler("iris"))
    assert specs(found)[0] == ("VirtualService", "live-iris", None)


def test_the_functions_own_deployment_takes_over_with_as_many_pods() -> None:
    adopt = state(phase="promoting", winner="candidate", stage="adopt")
    beside = [deployment("iris-candidate", "new", 8, 8), autoscaler("iris-candidate"), weighed(0)]
    found = compared(adopt, deployment("iris", "new", 1, 1), autoscaler("iris"), *beside)
    assert specs(found) == [("HorizontalPodAutoscaler", "iris", 8)]
    waiting = compared(adopt, deployment("iris", "new", 1, 1), autoscaler("iris", 8), *beside)
    assert (waiting.changes, waiting.waiting) == ([], "1 of 8 pods of iris are ready")
    assert compared(adopt, deployment("iris", "new", 8, 8), autoscaler("iris", 8), *beside).is_none


def test_a_number_that_is_fixed_is_raised_for_that_time() -> None:
    adopt = state(phase="promoting", winner="candidate", stage="adopt")
    beside = [deployment("iris-candidate", "new", 4, 4), weighed(0)]
    objects = replace(FIXED, candidate=[stated(beside[0])])
    found = compared(adopt, deployment("iris", "new", 1, 1), *beside, objects=objects)
    assert specs(found) == [("Deployment", "iris", 4)]
    end = replace(adopt, stage="clean")
    last = compared(end, deployment("iris", "new", 4, 4), beside[0], SINGLE, objects=objects)
    assert specs(last) == [("Deployment", "iris", 1), ("no Deployment", "iris-candidate", None)]


def test_no_autoscaler_is_asked_for_more_than_it_may() -> None:
    adopt = state(phase="promoting", winner="candidate", stage="adopt")
    objects = replace(SCALED, promoted=[stated(deployment("iris", "new")), stated(autoscaler("iris", 1, 5)), SINGLE])
    live = [deployment("iris", "new", 1, 1), autoscaler("iris", 1, 5), autoscaler("iris-candidate"), weighed(0)]
    found = compared(adopt, *live, deployment("iris-candidate", "new", 8, 8), objects=objects)
    assert specs(found) == [("HorizontalPodAutoscaler", "iris", 5)]


def test_what_gets_everything_at_once_has_the_pods_for_it_first() -> None:
    preview = state("blue-green", phase="running")
    live = [deployment("iris", "old", 6, 6), autoscaler("iris"), deployment("iris-candidate", "new", 1, 1), weighed(100)]
    assert specs(compared(preview, *live, autoscaler("iris-candidate"))) == [("HorizontalPodAutoscaler", "iris-candidate", 6)]
    found = compared(preview, *live, autoscaler("iris-candidate", 6))
    assert (found.changes, found.waiting) == ([], "1 of 6 pods of iris-candidate are ready")


def test_and_keeps_them_while_the_promotion_goes_on() -> None:
    shift = state("undo", phase="promoting", winner="candidate", stage="shift")
    live = [deployment("iris", "old", 1, 1), deployment("iris-candidate", "new", 6, 6), weighed(0)]
    assert compared(shift, *live, objects=FIXED).is_none


def test_the_old_deployment_keeps_its_pods_for_the_way_back() -> None:
    switched = state("blue-green", phase="switched", kept_pods=6)
    live = [deployment("iris", "old", 6, 6), deployment("iris-candidate", "new", 6, 6), autoscaler("iris-candidate", 6)]
    assert specs(compared(switched, *live, autoscaler("iris"), weighed(0))) == [("HorizontalPodAutoscaler", "iris", 6)]


def test_pods_stay_as_long_as_requests_are_sent_to_them() -> None:
    end = state(phase="rolling-back", winner="stable", stage="clean")
    live = [deployment("iris", "old", 1, 1), deployment("iris-candidate", "new", 1, 1), weighed(50)]
    assert specs(compared(end, *live, objects=FIXED)) == [("VirtualService", "live-iris", None)]


def test_an_undo_brings_back_what_was_without_the_number_that_an_autoscaler_chose() -> None:
    objects = replace(SCALED, candidate=as_candidate(SCALED.before, "iris"))
    warming = replace(state("undo"), is_split=False)
    found = compared(warming, deployment("iris", "new", 3, 3), autoscaler("iris"), SINGLE, objects=objects)
    assert specs(found) == [("Deployment", "iris-candidate", None), ("HorizontalPodAutoscaler", "iris-candidate", 3)]


def test_both_keep_as_many_pods_as_func_yaml_says_whatever_would_take_them_to_none() -> None:
    warming = replace(state(warm=3, phase="warming"), is_split=False)
    live = [deployment("iris", "old", 0, 0), scaled_object("iris"), SINGLE]
    found = compared(warming, *live, objects=QUEUED)
    assert specs(found) == [
        ("Deployment", "iris-candidate", None),
        ("ScaledObject", "iris-candidate", 3),
        ("ScaledObject", "iris", 3),
    ]
    there = [deployment("iris-candidate", "new", 3, 3), scaled_object("iris-candidate", 3), scaled_object("iris", 3)]
    assert compared(warming, deployment("iris", "edited by others", 3, 3), SINGLE, *there, objects=QUEUED).is_none


def test_what_they_kept_is_their_own_number_again_afterwards() -> None:
    end = state(warm=3, phase="rolling-back", winner="stable", stage="clean")
    found = compared(end, deployment("iris", "old", 3, 3), scaled_object("iris", 3), SINGLE, objects=QUEUED)
    assert specs(found) == [("ScaledObject", "iris", 0)]


def test_an_undo_of_what_a_queue_had_taken_to_no_pod_brings_one() -> None:
    objects = replace(QUEUED, candidate=as_candidate(QUEUED.before, "iris"))
    warming = replace(state("undo"), is_split=False)
    found = compared(warming, deployment("iris", "new", 2, 2), scaled_object("iris", 1), SINGLE, objects=objects)
    assert specs(found) == [("Deployment", "iris-candidate", None), ("ScaledObject", "iris-candidate", 2)]
