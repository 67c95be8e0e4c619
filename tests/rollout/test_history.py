"""Which revisions had the traffic, and which one an undo goes back to."""

import pytest
from msgspec.structs import replace

from kfunc.cluster.revisions import served_before
from kfunc.rollout.history import MOST_SERVED, advanced, begun, with_served
from kfunc.rollout.record import Record, from_config_map, to_config_map
from tests.rollout.worlds import FakeStore, FakeWorld, Health, drive, record, rollout


def driven(last: Record | None, candidate: Health) -> Record:
    """A rollout from iris-a to iris-b, to its end."""
    store = FakeStore(begun(record(rollout()), last))
    drive(FakeWorld(Health(), candidate), store)
    assert store.record is not None
    return store.record


def test_a_promotion_puts_the_new_revision_behind_the_old() -> None:
    assert driven(None, Health()).served == ["iris-a", "iris-b"]


def test_what_was_rolled_back_is_no_part_of_it() -> None:
    assert driven(None, Health(error_rate=0.5)).served == ["iris-a"]


def test_a_new_rollout_goes_on_with_what_the_last_one_knew() -> None:
    last = with_served(record(rollout(phase="promoted")), "iris-0", "iris-9")
    assert begun(record(rollout()), last).served == ["iris-0", "iris-9", "iris-a"]


def test_it_is_written_and_read_with_the_record() -> None:
    written = to_config_map(with_served(record(rollout()), "iris-0", "iris-a"))
    there = written | {"metadata": written["metadata"] | {"resourceVersion": "3"}}
    assert from_config_map(there).served == ["iris-0", "iris-a"]


def test_it_does_not_grow_for_ever() -> None:
    grown = with_served(record(rollout()), *(f"iris-{number}" for number in range(50)))
    assert grown.served == [f"iris-{number}" for number in range(50 - MOST_SERVED, 50)]


def test_a_state_that_was_promoted_already_adds_nothing() -> None:
    ended = with_served(record(rollout(phase="promoted", winner="candidate")), "iris-b", "iris-d")
    assert advanced(ended, replace(ended.rollout, ended_at=9.0)).served == ["iris-b", "iris-d"]


def test_deployments_have_no_revisions_to_note() -> None:
    assert begun(record(rollout(mode="raw")), None).served == []


@pytest.mark.parametrize(
    ("served", "serving", "left", "target"),
    [
        (["a", "b"], "b", "ab", "a"),
        (["a", "b", "a"], "a", "ab", "b"),
        (["a", "b", "a", "b"], "b", "ab", "a"),
        (["a", "b", "c"], "c", "ac", "a"),
        (["a", "b"], "d", "abd", "b"),
        (["a"], "a", "a", ""),
        ([], "a", "ab", ""),
        (["a", "b"], "b", "b", ""),
    ],
    ids=["once", "twice", "three times", "one is deleted", "deployed since", "the first", "unknown", "none is left"],
)
def test_undo_goes_to_what_had_the_traffic_before(served: list[str], serving: str, left: str, target: str) -> None:
    assert served_before(served, serving, set(left)) == target
