"""Whole rollouts of Deployments that are late, with autoscalers that take what is idle to their floor, and drivers killed."""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kfunc.cluster.kinds import Key, key_of
from kfunc.manifests.plan import Manifest
from kfunc.rollout.commands import RolloutRefused, aborted
from kfunc.rollout.deciding import decide
from kfunc.rollout.objects import Apply, Change, Delete, by_key, is_split, stated
from kfunc.rollout.raw_changes import RawLive, as_candidate, difference
from kfunc.rollout.raw_sizes import FLOORS, as_allowed
from kfunc.rollout.record import Objects, Record
from kfunc.rollout.state import Decision, Pod, Rollout, Seen
from tests.rollout.test_knative_changes import SINGLE, with_versions
from tests.rollout.test_raw_changes import FIXED, QUEUED, SCALED, deployment, state

MOST_S = 900
NEEDED = 3
"""Pods that all of the requests need."""
GATEWAYS_S = 4
"""Until all gateways know of a change, in whatever order they learn of several; `propagation_s` is 5."""
MAIN = key_of(SINGLE)
IRIS, CANDIDATE = ("iris", "stable"), ("iris-candidate", "candidate")


def rule(*tags: str) -> Manifest:
    """The subsets that routes may name."""
    about = {"name": "live-iris", "namespace": "default"}
    spec = {"host": "live-iris.default.svc.cluster.local", "subsets": [{"name": tag, "labels": {}} for tag in tags]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": about, "spec": spec}


RULE = key_of(rule())


def ruled(objects: Objects) -> Objects:
    """The same with rules of subsets, as they are rendered: after the VirtualService, each with what it needs itself."""
    return Objects(
        candidate=objects.candidate,
        split=[*objects.split, rule("stable", "candidate")],
        promoted=[*objects.promoted, rule("stable")],
        before=[*objects.before, rule("stable")],
    )


SCALED, QUEUED, FIXED = ruled(SCALED), ruled(QUEUED), ruled(FIXED)


class Deployments:
    """Objects whose pods follow some seconds later, a quarter at a time where a template changes."""

    def __init__(self, objects: Objects, seed: int) -> None:
        self.random, self.now, self.lost = random.Random(seed), 1000.0, set[str]()
        self.is_full = False
        self.objects = by_key([with_versions(copy.deepcopy(each)) for each in objects.before])
        self.running: dict[str, dict[str, float]] = {"iris": {"old": 0.0}}  # by template: how many
        self.learned: list[tuple[float, set[str], set[str]]] = []  # since when gateways may know which routes and subsets
        for _ in range(30):
            self.sleep()
        self.lost.clear()

    def put(self, change: Change) -> None:
        if isinstance(change, Delete):
            self.objects.pop(change.key)
        elif isinstance(change, Apply):
            key, wanted = key_of(change.manifest), copy.deepcopy(change.manifest)
            spec = self.objects.get(key, {"spec": {}})["spec"]
            kept = {"replicas": spec["replicas"]} if key[0] == "Deployment" and "replicas" in spec else {}
            generation = self.objects.get(key, {"metadata": {}})["metadata"].get("generation", 0) + 1
            status = self.objects.get(key, {}).get("status", {})
            about = wanted["metadata"] | {"generation": generation, "resourceVersion": str(generation)}
            self.objects[key] = wanted | {"metadata": about, "spec": kept | wanted["spec"], "status": status}
        self.check("at once")

    def share(self, name: str, tag: str) -> int:
        """Percent of the requests that come to a Deployment."""
        virtual_service = self.objects[MAIN]
        if not is_split(virtual_service):
            return 100 if name == "iris" else 0
        parts = virtual_service["spec"]["http"][-1]["route"]
        of = {part["headers"]["request"]["set"]["Host"].partition("-")[0]: int(part["weight"]) for part in parts}
        return of[tag]

    def floor(self, name: str) -> int | None:
        for kind, (field, _, least) in FLOORS.items():
            if (kind, "default", name) in self.objects:
                return int(self.objects[kind, "default", name]["spec"].get(field, least))
        return None

    def sleep(self) -> None:
        """A second: autoscalers look, pods come and go."""
        self.now += 1
        for name, tag in (IRIS, CANDIDATE):
            live = self.objects.get(("Deployment", "default", name))
            if live is None:
                self.running.pop(name, None)
                continue
            least = self.floor(name)
            if least is not None:
                share = self.share(name, tag)
                live["spec"]["replicas"] = max(least, -(-NEEDED * share // 100))
            self._follow(name, live)
        self.check("later")

    def _follow(self, name: str, live: Manifest) -> None:
        """Towards the number and the template that are wanted."""
        wanted, template = live["spec"].get("replicas", 1), live["spec"]["template"]["spec"]
        pods = self.running.setdefault(name, {})
        old = {one: count for one, count in pods.items() if one != template and count}
        new = pods.get(template, 0)
        if self.random.random() < 0.4:  # a pod becomes ready
            new += 1 if new < wanted and self.has_room() else 0
        new = min(new, wanted)
        for one in old:  # of the old ones as many stay as the new ones lack
            pods[one] = max(0, min(pods[one], wanted - new))
        pods[template] = new
        ready = int(sum(pods.values()))
        live["status"] = {
            "observedGeneration": live["metadata"].get("generation", 0),
            "updatedReplicas": int(new),
            "replicas": ready,
            "availableReplicas": ready,
        }

    def has_room(self) -> bool:
        """Whether a pod more fits: in a small cluster none, as long as the candidate has what it may keep for minutes."""
        return not self.is_full or "iris-candidate" not in self.running

    def available(self, name: str) -> int:
        return int(sum(self.running.get(name, {}).values()))

    def check(self, when: str) -> None:
        """No request is sent to where there is no pod; a queue that wakes pods of its own is none of it."""
        for name, tag in (IRIS, CANDIDATE):
            if self.share(name, tag) and not self.available(name) and self.now > 1030:
                self.lost.add(f"{name}, {when}")
        self.check_subsets()

    def check_subsets(self) -> None:
        """No route that a gateway may know names a subset that it may not know."""
        split = is_split(self.objects[MAIN])
        routes = {tag for name, tag in (IRIS, CANDIDATE) if self.share(name, tag)} if split else {"stable"}
        subsets = {subset["name"] for subset in self.objects[RULE]["spec"]["subsets"]}
        known = [each for each in self.learned[:-1] if each[0] > self.now - GATEWAYS_S]
        self.learned = [*known, *self.learned[-1:], (self.now, routes, subsets)]
        if unknown := {
            tag for _, tags, _ in self.learned for tag in tags if any(tag not in named for *_, named in self.learned)
        }:
            self.lost.add(f"a gateway knows no {unknown}")


def seen_of(record: Record, world: Deployments) -> Seen:
    found = difference(record, RawLive(copy.deepcopy(world.objects)))
    pods = {
        share.tag: [Pod(f"{share.tag}-{number}", 1.0) for number in range(world.available(share.revision))]
        for share in record.rollout.shares
    }
    warm = record.rollout.settings.warm
    ready = {
        share.tag: len(pods[share.tag]) >= as_allowed(warm, world.objects, share.revision) for share in record.rollout.shares
    }
    return Seen(settled=found.is_none, why=found.waiting, ready=ready, pods=pods)


def begun(strategy: str, objects: Objects, warm: int) -> tuple[Rollout, Objects]:
    quick: dict[str, Any] = {"interval_s": 4, "keep_s": 6, "min_requests": 1, "component": "", "metrics_port": 0}
    one = replace(state(strategy, warm=warm, promotion="auto", **quick), is_split=False)
    if strategy != "undo":
        return one, objects
    earlier = [stated(deployment("iris", "new")), *objects.before[1:]]
    return replace(one, rendered=""), replace(objects, candidate=as_candidate(earlier, "iris"), promoted=objects.promoted)


@pytest.mark.parametrize("strategy", ["canary", "blue-green", "undo"])
@pytest.mark.parametrize("objects", [SCALED, QUEUED, FIXED], ids=["hpa", "keda", "fixed"])
@pytest.mark.parametrize("warm", [1, 2])
@pytest.mark.parametrize("abort_at", [-1, 3, 10, 25, 45])
def test_no_request_is_sent_to_where_there_is_no_pod(strategy: str, objects: Objects, warm: int, abort_at: int) -> None:
    for seed in range(3):
        world = Deployments(objects, seed)
        one, made = begun(strategy, objects, warm)
        for second in range(MOST_S):
            world.sleep()
            one = decide(one, seen_of(Record(one, made), world), world.now).rollout
            if second == abort_at:
                try:
                    one = aborted(one, "asked for", world.now)
                except RolloutRefused:
                    pass
            for change in difference(Record(one, made), RawLive(copy.deepcopy(world.objects))).changes:
                if world.random.random() < 0.2:  # the driver is killed
                    break
                world.put(change)
            if one.has_ended:
                break
        assert one.has_ended, (one.phase, one.stage, one.why, [event.text for event in one.events])
        assert world.lost == set()
        assert one.phase == "promoted" or abort_at > 0
        ends_as(world, objects.promoted if one.phase == "promoted" else objects.before)


def driven(world: Deployments, one: Rollout, made: Objects, until: Callable[[Rollout], bool]) -> Decision:
    """Look, and change what differs, each second."""
    for _ in range(MOST_S * 3):
        world.sleep()
        found = decide(one, seen_of(Record(one, made), world), world.now)
        one = found.rollout
        if until(one) or one.has_ended or found.stuck:
            return found
        for change in difference(Record(one, made), RawLive(copy.deepcopy(world.objects))).changes:
            world.put(change)
    raise AssertionError(one)


@pytest.mark.parametrize("strategy", ["canary", "blue-green"])
@pytest.mark.parametrize("objects", [SCALED, QUEUED, FIXED], ids=["hpa", "keda", "fixed"])
def test_the_way_back_ends_where_both_do_not_fit(strategy: str, objects: Objects) -> None:
    world = Deployments(objects, 1)
    one, made = begun(strategy, objects, 1)

    def has_all(one: Rollout) -> bool:
        at_top = one.phase == "switched" or (one.phase == "running" and one.step == 3)
        return at_top and (objects is FIXED or world.available("iris-candidate") == NEEDED)

    top = driven(world, one, made, has_all).rollout
    world.is_full = True
    ended = driven(world, aborted(top, "asked for", world.now), made, lambda one: False)
    assert (ended.rollout.phase, ended.stuck, world.lost) == ("rolled-back", "", set())
    ends_as(world, objects.before)


@pytest.mark.parametrize("objects", [SCALED, QUEUED], ids=["hpa", "keda"])
def test_a_promotion_without_room_leaves_requests_where_the_pods_are_and_can_be_taken_back(objects: Objects) -> None:
    world = Deployments(objects, 1)
    one, made = begun("canary", objects, 1)
    adopting = driven(world, one, made, lambda one: one.stage == "adopt").rollout
    world.is_full = True
    late = driven(world, adopting, made, lambda one: False)
    assert (late.rollout.stage, "requests stay with iris-candidate" in late.stuck) == ("adopt", True)
    assert world.share(*CANDIDATE) == 100
    ended = driven(world, aborted(late.rollout, "asked for", world.now), made, lambda one: False)
    assert (ended.rollout.phase, world.lost) == ("rolled-back", set())
    ends_as(world, objects.before)


def ends_as(world: Deployments, wanted: list[Manifest]) -> None:
    """What is left is what was wanted, and nothing beside it."""
    for key, manifest in by_key(wanted).items():
        assert said(world.objects[key], key) == said(manifest, key)
    assert set(world.objects) == set(by_key(wanted))


def said(manifest: Manifest, key: Key) -> Any:
    spec = manifest["spec"]
    return spec["template"] if key[0] == "Deployment" else spec
