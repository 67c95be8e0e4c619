"""Requests that are split by no rollout that is known: nothing begins beside them, and the way back to one revision."""

from typing import Any, cast

import pytest

from kfunc.cluster.connection import Cluster
from kfunc.manifests.plan import Manifest
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.knative_changes import MIN_SCALE
from kfunc.rollout.objects import by_key, split_of, split_tags, unsplit, with_weights
from kfunc.rollout.recovering import recovered
from kfunc.rollout.state import Share
from kfunc.rollout.tags import refuse_split
from tests.rollout.test_knative_changes import SINGLE, SPLIT, revision, service, with_versions
from tests.rollout.test_raw_changes import deployment
from tests.rollout.test_simulation import Knative, driven

AB = with_weights(split_of(SINGLE, "iris", ["control", "treatment"]), {"control": 50, "treatment": 50}, matches=True)
TAGS = [
    {"revisionName": "iris-a", "percent": 100, "tag": "control"},
    {"revisionName": "iris-b", "percent": 0, "tag": "treatment"},
]


class Found:
    """A cluster with these objects."""

    def __init__(self, *manifests: Manifest) -> None:
        self.objects = by_key([with_versions(each) for each in manifests])

    def get(self, kind: str, name: str, namespace: str) -> Manifest | None:
        return self.objects.get((kind, namespace, name))


def found(*manifests: Manifest) -> Cluster:
    return cast(Cluster, Found(*manifests))


@pytest.mark.parametrize(
    "there",
    [
        (service("iris-a", TAGS), AB),
        (service("iris-a", [TAGS[0] | {"tag": "debug"}]), SINGLE),
        (service("iris-a", [{"revisionName": "iris-a", "percent": 100}]), SPLIT),
    ],
    ids=["a comparison", "a tag of kn's", "hosts whose tags are gone"],
)
def test_a_rollout_does_not_begin_beside_tags_of_others(there: tuple[Manifest, ...]) -> None:
    with pytest.raises(RolloutRefused, match="kfunc rollout abort iris gives everything to one revision"):
        refuse_split(found(*there), "iris", "default", [Share("stable", "iris-a"), Share("candidate", "iris-c")])


def test_the_same_revisions_under_the_same_tags_are_no_others() -> None:
    shares = [Share("control", "iris-a", 50), Share("treatment", "iris-b", 50)]
    refuse_split(found(service("iris-a", TAGS), AB), "iris", "default", shares)
    with pytest.raises(RolloutRefused):
        refuse_split(found(service("iris-a", TAGS), AB), "iris", "default", [shares[0], Share("treatment", "iris-c", 50)])


def test_one_destination_is_made_of_a_split() -> None:
    assert split_tags(AB) == ["control", "treatment"]
    assert unsplit(AB, "iris", "control")["spec"] == SINGLE["spec"]
    assert unsplit(SINGLE, "iris", "control") == SINGLE


def test_where_nothing_is_split_there_is_no_way_back() -> None:
    assert recovered(found(service("iris-a", [TAGS[0] | {"tag": ""}]), SINGLE), "iris", "default", 0.0) is None
    assert recovered(found(), "iris", "default", 0.0) is None


@pytest.mark.parametrize("seed", range(4))
def test_everything_goes_to_the_plain_address_before_the_tags_go(seed: int) -> None:
    world = Knative(seed)
    world.service, world.split = service("iris-b", TAGS), with_versions(AB)
    world.revisions["iris-b"] = revision("iris-b") | {"born": 0.0}
    record = recovered(found(world.service, world.split, *_named(world)), "iris", "default", world.now)
    assert record is not None
    ended = driven(world, record.rollout, record.objects)
    assert (ended.phase, world.lost) == ("rolled-back", set())
    assert world.split["spec"] == SINGLE["spec"]
    assert world.service["spec"]["traffic"] == [{"revisionName": "iris-a", "percent": 100}]


def test_pods_that_a_lost_rollout_kept_are_not_kept_for_good() -> None:
    world = Knative(0)
    world.service, world.split = service("iris-b", TAGS), with_versions(AB)
    world.service["spec"]["template"]["metadata"]["annotations"] = {MIN_SCALE: "2"}
    world.revisions["iris-b"] = revision("iris-b") | {"born": 0.0}
    for each in world.revisions.values():
        each["metadata"]["annotations"][MIN_SCALE] = "3"
    record = recovered(found(world.service, world.split, *_named(world)), "iris", "default", world.now)
    assert record is not None
    assert record.rollout.scales == {"iris-a": "", "iris-b": "2"}
    assert record.rollout.events[-1].text.startswith("iris-a keeps no pods any more when nothing is asked")
    driven(world, record.rollout, record.objects)
    assert {name: one["metadata"]["annotations"] for name, one in world.revisions.items()} == {
        "iris-a": {},
        "iris-b": {MIN_SCALE: "2"},
    }


def _named(world: Knative) -> list[Manifest]:
    about: dict[str, Any] = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision"}
    return [about | {"metadata": each["metadata"] | {"namespace": "default"}} for each in world.revisions.values()]


def test_without_knative_the_candidate_goes_as_well() -> None:
    there = (deployment("iris", "old", 2, 2), deployment("iris-candidate", "new", 1, 1), SPLIT)
    record = recovered(found(*there), "iris", "default", 0.0)
    assert record is not None
    assert [one["metadata"]["name"] for one in record.objects.candidate] == ["iris-candidate"]
    assert (record.rollout.mode, record.rollout.winner, record.rollout.stage) == ("raw", "stable", "merge")
