"""What a rollout changes of a Knative Service, its revisions and Istio's objects, and in which order."""

from typing import Any

from msgspec.structs import replace

from kfunc.cluster.kinds import Key
from kfunc.rollout.knative_changes import MAX_SCALE, MIN_SCALE, Live, difference, left_over, service_traffic
from kfunc.rollout.layout import STAGES, layout
from kfunc.rollout.objects import Annotate, Apply, Delete, Difference, by_key, split_of, with_weights
from kfunc.rollout.record import Objects, Record, from_config_map, to_config_map
from kfunc.rollout.state import Rollout
from tests.rollout.worlds import rollout

HOST = "iris.default.svc.cluster.local"
SINGLE: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "live-iris", "namespace": "default"},
    "spec": {
        "http": [
            {
                "name": "all",
                "route": [{"destination": {"host": "gateway"}, "headers": {"request": {"set": {"Host": HOST}}}}],
                "timeout": "90s",
            }
        ]
    },
}
SPLIT = split_of(SINGLE, "iris", ["stable", "candidate"])
MAIN: Key = ("VirtualService", "default", "live-iris")
LATEST = [{"latestRevision": True, "percent": 100}]
PINNED = [{"revisionName": "iris-a", "percent": 100}]
TAGGED = [
    {"revisionName": "iris-a", "percent": 100, "tag": "stable"},
    {"revisionName": "iris-b", "percent": 0, "tag": "candidate"},
]


def service(revision: str, traffic: list[dict[str, Any]], status: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A live Service whose routes are in effect."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "iris", "namespace": "default", "generation": 3, "resourceVersion": "7"},
        "spec": {"template": {"metadata": {"name": revision}}, "traffic": traffic},
        "status": {
            "observedGeneration": 3,
            "traffic": traffic if status is None else status,
            "conditions": [{"type": "RoutesReady", "status": "True"}],
        },
    }


def with_versions(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"metadata": manifest["metadata"] | {"resourceVersion": "9"}}


OBJECTS = Objects(
    candidate=[service("iris-b", TAGGED)],
    split=[SPLIT],
    promoted=[service("iris-b", LATEST), SINGLE],
    before=[service("iris-a", LATEST), SINGLE],
)
SETTLED = {"candidate": 0}


def revision(name: str, scale: str | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": "5", "annotations": {} if scale is None else {MIN_SCALE: scale}}}


def live(serving: dict[str, Any], virtual_service: dict[str, Any] = SINGLE, scale: str | None = "1") -> Live:
    revisions = {name: revision(name, scale) for name in ("iris-a", "iris-b")}
    return Live(serving, revisions, {MAIN: with_versions(virtual_service)}, {"iris-a": 1, "iris-b": 1})


def record(one: Rollout) -> Record:
    return Record(one, OBJECTS)


def test_the_traffic_is_bound_to_the_stable_revision_before_there_is_a_new_one() -> None:
    (change,) = difference(record(rollout()), live(service("iris-a", LATEST))).changes
    assert isinstance(change, Apply)
    assert change.manifest["spec"]["template"]["metadata"]["name"] == "iris-a"
    assert change.manifest["spec"]["traffic"] == PINNED


def test_the_new_template_waits_until_that_is_in_effect() -> None:
    found = difference(record(rollout()), live(service("iris-a", PINNED, LATEST)))
    assert (found.changes, found.waiting) == ([], "Knative binds the traffic to iris-a")


def test_then_the_new_revision_comes_with_its_tag_and_without_traffic() -> None:
    change = difference(record(rollout()), live(service("iris-a", PINNED))).changes[0]
    assert isinstance(change, Apply)
    assert change.manifest["spec"] == {"template": {"metadata": {"name": "iris-b"}}, "traffic": TAGGED}
    assert change.manifest["metadata"]["resourceVersion"] == "7"


def test_both_revisions_keep_a_pod() -> None:
    found = difference(record(rollout()), live(service("iris-b", TAGGED), scale=None)).changes
    assert found == [Annotate(name, {MIN_SCALE: "1"}, "5") for name in ("iris-a", "iris-b")]


def test_blue_green_keeps_as_many_pods_as_have_to_take_over() -> None:
    there = replace(live(service("iris-b", TAGGED)), ready_pods={"iris-a": 4})
    found = difference(record(rollout("blue-green")), there).changes
    assert found == [Annotate("iris-b", {MIN_SCALE: "4"}, "5")]


def of_switch(phase: Any, ready: dict[str, int], scale: str = "1", **fields: Any) -> Difference:
    """What blue/green lacks with so many ready pods, where both revisions have this min-scale."""
    one = rollout("blue-green", phase=phase, is_split=phase != "warming", **fields)
    split = SPLIT if phase != "warming" else SINGLE
    if phase == "switched":
        split = with_weights(SPLIT, {"stable": 0, "candidate": 100}, matches=True)
    return difference(record(one), replace(live(service("iris-b", TAGGED), split, scale), ready_pods=ready))


def test_the_switch_waits_until_the_pods_that_take_over_are_ready() -> None:
    assert of_switch("warming", {"iris-a": 4, "iris-b": 3}, "4").waiting == "3 of 4 pods of iris-b are ready"
    assert of_switch("running", {"iris-a": 4, "iris-b": 3}, "4").waiting == "3 of 4 pods of iris-b are ready"
    assert of_switch("running", {"iris-a": 4, "iris-b": 4}, "4").is_none
    assert of_switch("switched", {"iris-a": 4, "iris-b": 3}, "4").is_none


def test_after_the_switch_the_old_revision_keeps_the_pods_that_it_had() -> None:
    found = of_switch("switched", {"iris-a": 10, "iris-b": 10}, "1", kept_pods=10).changes
    assert Annotate("iris-a", {MIN_SCALE: "10"}, "5") in found


def test_no_revision_is_asked_for_more_pods_than_it_may_have() -> None:
    one = rollout("blue-green", phase="running", is_split=True)
    there = replace(live(service("iris-b", TAGGED), SPLIT), ready_pods={"iris-a": 9, "iris-b": 1})
    there.revisions["iris-b"]["metadata"]["annotations"][MAX_SCALE] = "4"
    assert difference(record(one), there).changes == [Annotate("iris-b", {MIN_SCALE: "4"}, "5")]


def test_nothing_is_split_before_the_new_revision_is_ready() -> None:
    assert difference(record(rollout()), live(service("iris-b", TAGGED))).is_none


def test_the_split_has_the_weights_of_the_step_and_the_times_of_the_route() -> None:
    (change,) = difference(record(rollout(phase="running", step=1, is_split=True)), live(service("iris-b", TAGGED))).changes
    assert isinstance(change, Apply)
    (route,) = change.manifest["spec"]["http"]
    assert [part["weight"] for part in route["route"]] == [75, 25]
    assert (route["name"], route["timeout"]) == ("split", "90s")


def test_hosts_of_tags_that_are_not_there_yet_get_no_requests() -> None:
    waiting = service("iris-b", TAGGED, PINNED)
    found = difference(record(rollout(phase="running", is_split=True)), live(waiting))
    assert (found.changes, found.waiting) == ([], "Knative sets up the routes")


def test_on_the_way_back_weights_do_not_wait_for_knative() -> None:
    back = rollout(phase="rolling-back", winner="stable", stage="shift", is_split=True)
    (change,) = difference(record(back), live(service("iris-b", TAGGED, PINNED), SPLIT | {"spec": {"http": heavy()}})).changes
    assert isinstance(change, Apply)
    assert [part["weight"] for part in change.manifest["spec"]["http"][0]["route"]] == [100, 0]


def test_on_the_way_back_requests_are_turned_before_anything_else_is_changed() -> None:
    back = rollout(phase="rolling-back", winner="stable", stage="shift", is_split=True)
    edited = live(service("iris-b", LATEST, TAGGED), SPLIT | {"spec": {"http": heavy()}}, scale=None)
    first, *others = difference(record(back), edited).changes
    assert isinstance(first, Apply)
    assert first.manifest["kind"] == "VirtualService"
    assert [type(one) for one in others] == [Apply, Annotate, Annotate]


def test_tags_stay_as_long_as_requests_are_sent_to_their_hosts() -> None:
    ended = rollout(phase="rolling-back", winner="stable", stage="clean", is_split=True)
    (change,) = difference(record(ended), live(service("iris-b", TAGGED), SPLIT)).changes
    assert isinstance(change, Apply)
    assert change.manifest["spec"] == SINGLE["spec"]


def test_what_a_promotion_had_brought_goes_when_it_is_taken_back() -> None:
    about = {"name": "iris", "namespace": "default"}
    rule = SINGLE | {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": about}
    key: Key = ("AuthorizationPolicy", "default", "iris")
    objects = replace(OBJECTS, promoted=[*OBJECTS.promoted, rule])
    ended = rollout(phase="rolling-back", winner="stable", stage="clean", is_split=True)
    there = replace(live(service("iris-a", PINNED), scale=None), others={MAIN: SINGLE, key: rule})
    assert difference(Record(ended, objects), there).changes == [Delete(key)]
    assert key in left_over(Record(ended, objects))


POLICY = SINGLE | {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "iris", "namespace": "default"},
}
RULED = Objects(
    candidate=[service("iris-b", TAGGED)],
    promoted=[service("iris-b", LATEST), POLICY],
    before=[service("iris-a", LATEST)],
)


def of_knative(phase: Any, stage: Any, traffic: list[dict[str, Any]], *others: dict[str, Any]) -> Difference:
    """What the end of a rollout lacks whose split is Knative's, and whose func.yaml has an access rule that was not there."""
    winner = "candidate" if phase == "promoting" else "stable"
    one = rollout(via="knative", phase=phase, winner=winner, stage=stage, is_split=True)
    there = Live(service("iris-b", traffic), {}, by_key([with_versions(each) for each in others]))
    return difference(Record(one, RULED), there)


def test_a_promotion_brings_access_rules_where_knative_splits_too_before_the_tags_go() -> None:
    turned = [part | {"percent": percent} for part, percent in zip(TAGGED, [0, 100], strict=True)]
    assert of_knative("promoting", "shift", turned).is_none
    assert of_knative("promoting", "merge", turned).changes == [Apply(POLICY)]
    assert of_knative("promoting", "merge", turned, POLICY).is_none
    assert STAGES["knative"] == ("shift", "merge", "clean")


def test_a_way_back_takes_them_away_again_where_knative_splits_too() -> None:
    assert of_knative("rolling-back", "shift", TAGGED, POLICY).is_none
    last = of_knative("rolling-back", "clean", PINNED, POLICY).changes
    assert Delete(("AuthorizationPolicy", "default", "iris")) in last


def test_a_service_that_others_have_changed_gets_its_tags_back_before_its_template() -> None:
    one = rollout(phase="running", is_split=True)
    (change,) = difference(record(one), live(service("iris-x", LATEST), SPLIT)).changes
    assert isinstance(change, Apply)
    assert (change.manifest["spec"]["template"]["metadata"]["name"], change.manifest["spec"]["traffic"]) == ("iris-x", TAGGED)


def heavy() -> list[dict[str, Any]]:
    (route,) = SPLIT["spec"]["http"]
    shares = [part | {"weight": weight} for part, weight in zip(route["route"], [50, 50], strict=True)]
    return [route | {"route": shares}]


def test_after_a_promotion_the_service_is_as_deploy_would_make_it() -> None:
    ended = rollout(phase="promoting", winner="candidate", stage="clean", is_split=True, scales={"iris-a": "", "iris-b": "2"})
    first, *scales = difference(record(ended), live(service("iris-b", TAGGED))).changes
    assert isinstance(first, Apply)
    assert first.manifest["spec"]["traffic"] == LATEST
    assert scales == [Annotate("iris-a", {MIN_SCALE: None}, "5"), Annotate("iris-b", {MIN_SCALE: "2"}, "5")]


def test_after_a_rollback_the_stable_revision_is_named_for_the_newest_is_another() -> None:
    ended = rollout(phase="rolling-back", winner="stable", stage="clean", is_split=True)
    first = difference(record(ended), live(service("iris-b", TAGGED))).changes[0]
    assert isinstance(first, Apply)
    assert first.manifest["spec"] == {"template": {"metadata": {"name": "iris-a"}}, "traffic": PINNED}


def test_what_only_the_split_needed_is_deleted_at_the_end() -> None:
    preview = SINGLE | {"metadata": {"name": "preview-iris", "namespace": "default"}}
    key: Key = ("VirtualService", "default", "preview-iris")
    objects = replace(OBJECTS, split=[SPLIT, preview])
    ended = rollout(phase="promoting", winner="candidate", stage="clean", is_split=True)
    there = replace(live(service("iris-b", LATEST), scale=None), others={MAIN: SINGLE, key: preview})
    assert difference(Record(ended, objects), there).changes == [Delete(key)]


def test_without_istio_the_service_has_the_weights() -> None:
    one = rollout(phase="running", step=1, is_split=True, via="knative")
    assert [part["percent"] for part in service_traffic(one, layout(one))] == [75, 25]


def test_a_record_is_read_as_it_was_written() -> None:
    written = to_config_map(record(rollout(phase="running")))
    there = written | {"metadata": written["metadata"] | {"resourceVersion": "3"}}
    assert from_config_map(there) == replace(record(rollout(phase="running")), version="3")
    assert by_key([written]).keys() == {("ConfigMap", "default", "iris-rollout")}
