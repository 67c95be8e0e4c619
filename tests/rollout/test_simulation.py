"""Whole rollouts on a Knative that is late, with drivers killed between two changes, people who abort, and others who edit."""

import copy
import random
from typing import Any

import pytest

from kfunc.cluster.kinds import key_of
from kfunc.rollout.commands import RolloutRefused, aborted, promoted
from kfunc.rollout.deciding import decide
from kfunc.rollout.knative_changes import MIN_SCALE, Live, difference
from kfunc.rollout.objects import Annotate, Change, Delete
from kfunc.rollout.record import Objects, Record
from kfunc.rollout.state import Pod, Rollout, Seen, Share
from tests.rollout.test_knative_changes import LATEST, MAIN, OBJECTS, SINGLE, SPLIT, revision, service, with_versions
from tests.rollout.worlds import rollout

MOST_S = 900
MENDED_S = 15.0
"""How long after an edit of others requests may be lost: until it is seen, and Knative has taken up what puts it right."""
PODS = 3
STRATEGIES = ("canary", "blue-green", "ab", "undo")


class Knative:
    """A Service whose status follows its spec some seconds later, its revisions, and the VirtualService in front."""

    def __init__(self, seed: int) -> None:
        self.random, self.now = random.Random(seed), 1000.0
        first = [{"revisionName": "iris-a", "latestRevision": True, "percent": 100}]
        self.service = service("iris-a", LATEST, first)
        self.revisions = {"iris-a": revision("iris-a") | {"born": 0.0}}
        self.split = with_versions(copy.deepcopy(SINGLE))
        self.coming: list[tuple[float, int, list[dict[str, Any]]]] = []
        self.lost: set[str] = set()
        self.edited_at = -1e9

    def sleep(self) -> None:
        """A second, and what takes effect in it."""
        self.now += 1
        while self.coming and self.coming[0][0] <= self.now:
            _, generation, traffic = self.coming.pop(0)
            latest = "iris-b" if self.is_ready("iris-b") else "iris-a"
            status = self.service["status"]
            status["observedGeneration"] = generation
            status["traffic"] = [part if part.get("revisionName") else part | {"revisionName": latest} for part in traffic]
        self.check("later")

    def is_ready(self, name: str) -> bool:
        return name in self.revisions and self.now >= self.revisions[name]["born"] + 3

    def pods(self, name: str) -> int:
        least = int(self.revisions[name]["metadata"]["annotations"].get(MIN_SCALE) or 0)
        return max(least, PODS if name == "iris-a" else 1) if self.is_ready(name) else 0

    def live(self) -> Live:
        pods = {name: self.pods(name) for name in self.revisions}
        return Live(copy.deepcopy(self.service), self.revisions, {MAIN: copy.deepcopy(self.split)}, pods)

    def make(self, change: Change) -> None:
        if isinstance(change, Annotate):
            annotations = self.revisions[change.revision]["metadata"]["annotations"]
            for name, value in change.annotations.items():
                annotations.pop(name, None) if value is None else annotations.update({name: value})
        elif isinstance(change, Delete):
            raise AssertionError(change)
        elif key_of(change.manifest)[0] == "KnativeService":
            self.put(change.manifest["spec"])
        elif key_of(change.manifest) == MAIN:
            self.split["spec"] = copy.deepcopy(change.manifest["spec"])
            self.check("at once")

    def put(self, spec: dict[str, Any]) -> None:
        """A new spec of the Service, which is in effect some time later, after those before."""
        self.service["spec"] = copy.deepcopy(spec)
        generation = self.service["metadata"]["generation"] = self.service["metadata"]["generation"] + 1
        name = spec["template"]["metadata"]["name"]
        self.revisions.setdefault(name, revision(name) | {"born": self.now})
        late = max([at for at, _, _ in self.coming], default=0.0)
        at = max(late, self.now + self.random.choice([0, 1, 3, 6]))
        self.coming.append((at, generation, copy.deepcopy(spec["traffic"])))

    def check(self, when: str) -> None:
        """No request is sent to the host of a tag that is not there."""
        if self.now - self.edited_at <= MENDED_S:
            return
        tags = {part.get("tag") for part in self.service["status"]["traffic"]}
        for part in self.split["spec"]["http"][-1]["route"]:
            host = part["headers"]["request"]["set"]["Host"].partition(".")[0]
            if part.get("weight", 100) and host != "iris" and host.removesuffix("-iris") not in tags:
                self.lost.add(f"{host}, {when}")

    def edit(self, what: str) -> None:
        """Somebody else changes something that belongs to the rollout."""
        self.edited_at = self.now
        if what == "traffic":
            self.put(self.service["spec"] | {"traffic": LATEST})
        elif what == "weights":
            self.split["spec"] = copy.deepcopy(SINGLE["spec"])


def begun(strategy: str) -> tuple[Rollout, Objects]:
    fields: dict[str, Any] = {"interval_s": 4, "keep_s": 6, "min_requests": 1, "component": "", "metrics_port": 0}
    if strategy == "ab":
        fields["shares"] = [Share("stable", "iris-a", 50), Share("candidate", "iris-b", 50)]
    one = rollout(strategy, promotion="auto", scales={"iris-a": "", "iris-b": ""}, **fields)
    if strategy != "undo":
        return one, OBJECTS
    back = Objects([], [SPLIT], OBJECTS.promoted, OBJECTS.before)
    return rollout(strategy, rendered="", scales={"iris-a": "", "iris-b": ""}, **fields), back


def seen_of(record: Record, world: Knative) -> Seen:
    found = difference(record, world.live())
    shares = record.rollout.shares
    pods = {share.tag: [Pod(f"{share.tag}-{number}", 1.0) for number in range(count(world, share))] for share in shares}
    return Seen(settled=found.is_none, ready={tag: bool(own) for tag, own in pods.items()}, pods=pods)


def count(world: Knative, share: Share) -> int:
    return world.pods(share.revision) if share.revision in world.revisions else 0


def told(one: Rollout, second: int, abort_at: int, now: float) -> Rollout:
    """What people say: of a comparison that rests the second variant wins."""
    try:
        if second == abort_at:
            return aborted(one, "asked for", now)
        if one.strategy == "ab" and one.phase == "running" and second > 30:
            return promoted(one, "candidate", now)
    except RolloutRefused:
        pass
    return one


def driven(world: Knative, one: Rollout, objects: Objects) -> Rollout:
    """A rollout to its end, with nobody in its way."""
    for _ in range(MOST_S):
        world.sleep()
        one = decide(one, seen_of(Record(one, objects), world), world.now).rollout
        for change in difference(Record(one, objects), world.live()).changes:
            world.make(change)
        if one.has_ended:
            break
    return one


def simulated(strategy: str, seed: int, abort_at: int = -1, kills: float = 0.0, edit: str = "", edit_at: int = -1) -> Knative:
    """A rollout to its end, which is clean and without a lost request."""
    world = Knative(seed)
    one, objects = begun(strategy)
    if strategy == "undo":
        world.revisions["iris-b"] = revision("iris-b") | {"born": 0.0}
    for second in range(MOST_S):
        world.sleep()
        if second == edit_at:
            world.edit(edit)
        one = told(decide(one, seen_of(Record(one, objects), world), world.now).rollout, second, abort_at, world.now)
        for change in difference(Record(one, objects), world.live()).changes:
            if world.random.random() < kills:
                break
            world.make(change)
        if one.has_ended:
            break
    assert one.has_ended, (one.phase, one.stage, one.why)
    assert world.lost == set()
    wanted = "iris-b" if one.phase == "promoted" else "iris-a"
    assert [part.get("tag") for part in world.service["spec"]["traffic"]] == [None]
    assert [part["revisionName"] for part in world.service["status"]["traffic"]] == [wanted]
    assert world.split["spec"] == SINGLE["spec"]
    assert {name: one["metadata"]["annotations"] for name, one in world.revisions.items()} == {
        key: {} for key in world.revisions
    }
    return world


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("abort_at", [-1, 2, 8, 15, 25, 40])
@pytest.mark.parametrize("kills", [0.0, 0.4])
def test_no_request_is_sent_to_a_host_that_is_not_there(strategy: str, abort_at: int, kills: float) -> None:
    for seed in range(4):
        simulated(strategy, seed, abort_at, kills)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("edit", ["traffic", "weights"])
@pytest.mark.parametrize("edit_at", [3, 8, 15, 25, 35])
def test_what_others_edit_is_put_right_and_the_end_is_clean(strategy: str, edit: str, edit_at: int) -> None:
    for seed in range(2):
        simulated(strategy, seed, edit=edit, edit_at=edit_at)
        simulated(strategy, seed, abort_at=edit_at + 1, edit=edit, edit_at=edit_at)
