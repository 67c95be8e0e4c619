"""Which revisions there are, what each is for, which can go."""

import json
from typing import Any, get_args

import pytest

from kfunc.cluster.observed import Observed
from kfunc.cluster.revisions import Revision, has_tags, revisions, serving, undo_target, unused
from kfunc.cluster.rollout_record import ENDED
from kfunc.rollout.state import Phase


def observed(*names: str, traffic: list[dict[str, Any]] | None = None, failed: tuple[str, ...] = ()) -> Observed:
    """A function with these revisions, the oldest first; the last one is the latest, and has the traffic unless told."""
    shares = [{"revisionName": names[-1], "percent": 100, "latestRevision": True}] if traffic is None else traffic
    status = {"latestCreatedRevisionName": names[-1], "latestReadyRevisionName": names[-1], "traffic": shares}
    made = [
        {
            "kind": "Revision",
            "metadata": {"name": name, "creationTimestamp": f"2026-11-25T14:{number:02}:00Z"},
            "spec": {"containers": [{"image": "example.com/iris:1"}]},
            "status": {"conditions": [{"type": "Ready", "status": "False" if name in failed else "True", "reason": "Failed"}]},
        }
        for number, name in enumerate(names)
    ]
    service = {"kind": "Service", "metadata": {"name": "iris"}, "spec": {"traffic": shares}, "status": status}
    return Observed("iris", "team", service=service, revisions=made)


def test_those_who_only_read_a_record_know_its_ends() -> None:
    assert set(ENDED) <= set(get_args(Phase))


def names(rows: list[Revision]) -> list[str]:
    return [row.name for row in rows]


def test_the_newest_revision_stands_first() -> None:
    assert names(revisions(observed("a", "b", "c"))) == ["c", "b", "a"]


def test_each_has_its_part_of_the_traffic_and_its_tags() -> None:
    traffic = [{"revisionName": "a", "percent": 95, "tag": "stable"}, {"revisionName": "b", "percent": 5, "tag": "candidate"}]
    rows = revisions(observed("a", "b", traffic=traffic))
    assert [(row.name, row.percent, row.tags) for row in rows] == [("b", 5, ["candidate"]), ("a", 95, ["stable"])]


def test_the_one_with_most_traffic_serves_first() -> None:
    traffic = [{"revisionName": "b", "percent": 5}, {"revisionName": "a", "percent": 95}, {"revisionName": "c", "percent": 0}]
    assert serving(observed("a", "b", "c", traffic=traffic)) == ["a", "b"]


def test_tags_in_the_traffic_say_that_a_rollout_is_under_way() -> None:
    assert has_tags(observed("a", traffic=[{"revisionName": "a", "percent": 100, "tag": "stable"}]))
    assert not has_tags(observed("a"))


def test_undo_goes_to_the_newest_ready_revision_without_traffic() -> None:
    assert undo_target(observed("a", "b", "c", "d", failed=("c",))) == "b"


def test_undo_goes_to_the_last_rollouts_revision_before_others() -> None:
    record = {"data": {"rollout": '{"shares":[{"revision":"a"},{"revision":"d"}]}'}}
    assert undo_target(observed("a", "b", "d"), record) == "a"


def rejected(served: str) -> dict[str, Any]:
    """The record of a rollout from b to c that was rolled back."""
    return {"data": {"rollout": '{"phase":"rolled-back","shares":[{"revision":"b"},{"revision":"c"}]}', "served": served}}


@pytest.mark.parametrize(("served", "target"), [('["a","b"]', "a"), ('["b"]', "")], ids=["one before", "none before"])
def test_undo_never_goes_to_what_a_rollout_rejected(served: str, target: str) -> None:
    traffic = [{"revisionName": "b", "percent": 100}]
    assert undo_target(observed("a", "b", "c", traffic=traffic), rejected(served)) == target


def test_without_another_revision_there_is_no_undo() -> None:
    assert undo_target(observed("a")) == ""


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(1, ["d", "c", "b", "a"]), (2, ["c", "b", "a"]), (4, ["a"]), (5, []), (100, [])],
)
def test_the_oldest_beyond_the_number_that_is_kept_can_go(keep: int, expected: list[str]) -> None:
    assert names(unused(revisions(observed("a", "b", "c", "d", "e", "f")), keep)) == expected


def test_one_that_never_became_ready_can_go_and_is_not_counted() -> None:
    assert names(unused(revisions(observed("a", "b", "c", "d", failed=("b",))), 2)) == ["b"]


def test_one_that_was_ready_stays_though_it_is_not_for_a_moment() -> None:
    rows = [
        Revision("c", "3", ready=True, percent=100, latest=True),
        Revision("b", "2", ready=False, kept=True),
        Revision("a", "1", ready=False, kept=True),
    ]
    assert names(unused(rows, 5)) == []
    assert names(unused(rows, 1)) == ["a"]


def test_one_with_traffic_stays_however_old_it_is() -> None:
    traffic = [{"revisionName": "a", "percent": 50}, {"revisionName": "e", "percent": 50}]
    assert "a" not in names(unused(revisions(observed("a", "b", "c", "d", "e", traffic=traffic)), 1))


def test_one_with_a_tag_stays() -> None:
    traffic = [{"revisionName": "a", "percent": 0, "tag": "old"}, {"revisionName": "e", "percent": 100}]
    assert "a" not in names(unused(revisions(observed("a", "b", "c", "d", "e", traffic=traffic)), 1))


def test_the_undos_stays() -> None:
    record = {"data": {"rollout": '{"phase":"promoted","shares":[{"revision":"a"}]}'}}
    rows = revisions(observed("a", "b", "c", "d", "e"), record)
    assert names(unused(rows, 1, record)) == ["d", "c", "b"]


def test_beside_a_record_that_cannot_be_read_none_goes() -> None:
    rows = revisions(observed("a", "b", "c", "d"))
    assert names(unused(rows, 1, {"data": {"rollout": '{"phase": 3}'}})) == []


@pytest.mark.parametrize("text", ['"phase":"promoted" is what people wait for', "iris"])
def test_what_a_record_only_talks_of_decides_nothing(text: str) -> None:
    rollout = {"shares": [{"revision": "b"}], "phase": "running", "reason": text, "events": [{"at": 1.0, "text": "a"}]}
    record = {"data": {"rollout": json.dumps(rollout, indent=1), "served": '["c","d"]'}}
    assert names(unused(revisions(observed("a", "b", "c", "d"), record), 1, record)) == ["a"]


@pytest.mark.parametrize(("phase", "gone"), [("running", []), ("rolled-back", ["b"])])
def test_a_rollouts_revisions_stay_while_it_is_under_way(phase: str, gone: list[str]) -> None:
    said = f'{{"phase":"{phase}","shares":[{{"revision":"c"}},{{"revision":"b"}}]}}'
    record = {"data": {"rollout": said, "served": '["a","c"]'}}
    traffic = [{"revisionName": "c", "percent": 100}]
    found = observed("a", "b", "c", "d", traffic=traffic)
    assert names(unused(revisions(found, record), 1, record)) == gone


def test_the_latest_stays_though_it_failed() -> None:
    traffic = [{"revisionName": "a", "percent": 100}]
    assert names(unused(revisions(observed("a", "b", traffic=traffic, failed=("b",))), 1)) == []
