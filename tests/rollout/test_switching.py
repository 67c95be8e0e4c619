"""The moment when everything goes to another revision at once: who waits for which pods."""

from typing import Any

from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.errors import ClusterError
from kfunc.rollout.commands import promoted
from kfunc.rollout.deciding import UNDO_S, decide
from kfunc.rollout.objects import Annotate, Apply, Delete, Difference
from kfunc.rollout.state import Pod, Rollout, Seen
from kfunc.rollout.statistics import Sample
from kfunc.rollout.worlds import ClusterWorld
from tests.rollout.worlds import rollout

READY = {"stable": True, "candidate": True}


def seen(settled: bool, stable: int = 4) -> Seen:
    pods = {"stable": [Pod(f"a-{number}", 1.0) for number in range(stable)], "candidate": [Pod("b", 1.0, Sample())]}
    return Seen(settled=settled, why="" if settled else "1 of 4 pods of iris-b are ready", ready=READY, pods=pods)


def preview(**fields: Any) -> Rollout:
    given: dict[str, Any] = {"phase": "running", "is_split": True, "settled_at": 1000.0, "unready_since": 1000.0}
    return rollout("blue-green", **(given | fields))


def test_the_switch_that_is_asked_for_waits_for_the_pods_that_take_over() -> None:
    asked = promoted(preview(), "", 1100.0)
    assert promoted(asked, "", 1105.0) == asked
    waiting = decide(asked, seen(settled=False), 1110.0).rollout
    assert (waiting.phase, waiting.kept_pods) == ("running", 4)
    switched = decide(waiting, seen(settled=True), 1120.0).rollout
    assert (switched.phase, switched.asked_at, switched.kept_pods) == ("switched", 0.0, 4)


def test_where_they_do_not_come_the_preview_stays_and_it_is_said_why() -> None:
    asked = promoted(preview(), "", 1100.0)
    left = decide(asked, seen(settled=False), 1400.0).rollout
    assert (left.phase, left.asked_at) == ("running", 0.0)
    assert left.events[-1].text == "not switched: 1 of 4 pods of iris-b are ready"


def test_a_switch_by_itself_waits_as_well() -> None:
    one = preview(promotion="auto", interval_s=5.0)
    assert decide(one, seen(settled=False), 1010.0).rollout.phase == "running"
    assert decide(one, seen(settled=True), 1010.0).rollout.phase == "switched"


def test_what_the_old_revision_had_is_remembered_after_its_pods_have_gone() -> None:
    one = replace(preview(keep_s=300), phase="switched", kept_pods=4)
    assert decide(one, seen(settled=True, stable=1), 1010.0).rollout.kept_pods == 4


def test_an_undo_waits_for_the_pods_that_take_over_but_not_for_long() -> None:
    back = rollout("undo")
    assert decide(back, seen(settled=False), 1000.0 + UNDO_S - 1).rollout.phase == "warming"
    assert decide(back, seen(settled=False), 1000.0 + UNDO_S).rollout.phase == "promoting"
    assert decide(back, seen(settled=True), 1001.0).rollout.phase == "promoting"


class Refusing:
    """A cluster that refuses to change Services with an error, and keeps what else it is asked."""

    def __init__(self, code: int) -> None:
        self.code, self.done = code, list[str]()

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        if manifest["kind"] == "Service":
            raise ClusterError("refused", self.code)
        self.done.append(manifest["kind"])

    def patch(self, kind: str, name: str, namespace: str, body: dict[str, Any]) -> None:
        self.done.append(name)

    def delete(self, kind: str, name: str, namespace: str) -> None:
        self.done.append(f"no {name}")


CHANGES = Difference(
    [Apply({"kind": "Service"}), Annotate("iris-a", {}, "1"), Apply({"kind": "VirtualService"}), Delete(("Gateway", "n", "g"))]
)


def changed(code: int, one: Rollout) -> tuple[list[str], str]:
    cluster: Any = Refusing(code)
    kept: Cluster = cluster
    try:
        ClusterWorld(kept, one).change(CHANGES, one)
    except ClusterError as error:
        return cluster.done, error.message
    return cluster.done, ""


def test_on_the_way_to_a_winner_one_refusal_keeps_back_nothing_but_deletions() -> None:
    back = rollout(phase="rolling-back", winner="stable")
    assert changed(422, back) == (["iris-a", "VirtualService"], "refused")
    assert changed(409, back) == (["iris-a", "VirtualService"], "")


def test_on_the_way_up_it_keeps_back_all_that_follows() -> None:
    assert changed(422, rollout()) == ([], "refused")
    assert changed(409, rollout()) == ([], "")
