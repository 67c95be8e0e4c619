"""The ledger: what is missing, what is there twice, what is alone."""

from typing import Any

import pytest

from kfunc.event_log.ledger import Gap, Ledger, Report
from kfunc.event_log.stored import Stored
from kfunc.logger_sidecar.record import HAS_RESPONSE, Origin
from tests.event_log.logs import call, stored


def report(events: list[Stored]) -> Report:
    ledger = Ledger()
    for event in events:
        ledger.add(event)
    return ledger.report()


@pytest.mark.parametrize("compat", ["none", "kserve"])
def test_a_complete_log_is_ok(compat: str) -> None:
    found = report(stored(*map(call, range(100)), compat=compat))
    assert found.ok
    assert (found.events, found.calls, found.kinds) == (200, 100, {"request": 100, "response": 100})
    assert (found.first_time, found.last_time) == ("2026-11-25T09:00:00.000000Z", "2026-11-25T09:01:39.001500Z")


def test_the_order_does_not_count() -> None:
    assert report(stored(*map(call, range(50)))[::-1]).ok


def test_calls_that_are_missing_between_others_are_told_by_their_ids() -> None:
    found = report(stored(*map(call, [5, 6, 9, 11])))
    assert not found.ok
    assert (found.gaps, found.gaps_listed) == (2, [Gap("run-14", "run-12", "run-18"), Gap("run-20", "run-18", "run-22")])
    assert str(found.gaps_listed[0]) == "run-14 and what follows it before run-18"


def test_each_run_of_a_logger_has_numbers_of_its_own() -> None:
    other = Origin(run="later", function="iris", namespace="team")
    assert report([*stored(*map(call, range(3))), *stored(*map(call, range(7, 9)), origin=other)]).ok


@pytest.mark.parametrize("lost", [0, 1])
def test_an_event_without_its_other_half_is_told(lost: int) -> None:
    events = stored(*map(call, range(3)))
    del events[2 + lost]
    found = report(events)
    assert not found.ok
    assert (found.unpaired, found.unpaired_listed) == (1, ["run-2"])


def test_a_log_of_responses_only_has_no_other_halves() -> None:
    assert report(stored(*[call(number, flags=HAS_RESPONSE) for number in range(3)])).ok


def test_an_event_that_came_twice_is_told_and_is_no_fault() -> None:
    events = stored(*map(call, range(3)))
    found = report([*events, *events[:2]])
    assert found.ok
    assert (found.events, found.calls, found.duplicates) == (8, 3, 2)


def test_two_calls_with_the_same_id_of_their_client_are_two_calls() -> None:
    found = report(stored(call(0, correlation=b"same"), call(1, correlation=b"same")))
    assert (found.ok, found.calls) == (True, 2)


def test_a_line_that_is_no_event_is_a_fault() -> None:
    ledger = Ledger()
    ledger.unreadable = 1
    assert not ledger.report().ok


def test_statuses_and_models_are_counted() -> None:
    calls: list[Any] = [call(0), call(1, status=500), call(2, target=b"/v2/models/other/infer")]
    found = report(stored(*calls))
    assert found.statuses == {"200": 2, "500": 1}
    assert found.models == {"iris": 4, "other": 2}
