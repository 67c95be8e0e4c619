"""A rollout as people and programs are told of it."""

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from kfunc.cli.rollout_showing import Document, document, report
from kfunc.rollout.record import Driver, Record
from kfunc.rollout.state import Check, Event, Rollout, Share, Window
from kfunc.rollout.statistics import Sample
from tests.rollout.worlds import rollout

BOUNDS = [0.01, 0.1]


def sample(requests: float, errors: float) -> Sample:
    return Sample(requests, errors, BOUNDS, [requests, 0.0, 0.0], requests * 0.004)


def running(**fields: object) -> Rollout:
    window = Window(1000.0, {"stable": sample(950, 1), "candidate": sample(50, 10)})
    check = Check("error rate", "candidate", "fail", "error rate 20 % of 50 requests")
    return replace(
        rollout(phase="running", is_split=True), window=window, checks=[check], events=[Event(1000.0, "ready")], **fields
    )


def test_a_report_says_how_far_it_is_who_drives_and_what_was_measured() -> None:
    text = report(Record(running(), driver=Driver("host:1", 2000.0)), 1060.0)
    assert text.startswith("iris: canary running, step 1 of 4 (5 %), 60 s\ndriven by: host:1\n")
    assert re.search(r"candidate +iris-b +5 % +50 +20 %", text)
    assert "  fail    error rate 20 % of 50 requests" in text
    assert text.endswith("  ready")


def test_a_rollout_that_nobody_drives_says_what_to_do() -> None:
    assert "driven by: nobody; `kfunc rollout resume` goes on" in report(Record(running()), 1060.0)


def test_a_rollout_that_has_ended_says_why() -> None:
    ended = running(phase="rolled-back", winner="stable", reason="too many errors", ended_at=1100.0)
    assert "iris: canary rolled-back, 100 s\nreason: too many errors" in report(Record(ended), 5000.0)


def test_a_comparison_shows_intervals_and_how_sure_a_difference_is() -> None:
    shares = [Share("control", "iris-a", 50), Share("treatment", "iris-b", 50)]
    window = Window(1000.0, {"control": sample(1000, 10), "treatment": sample(1000, 60)})
    text = report(Record(replace(rollout("ab", phase="running", shares=shares), window=window)), 1060.0)
    assert "1 % (0.544 % to 1.83 %)" in text
    assert re.search(r"\+5 % \(\+3\.\d+ to \+6\.\d+\), p=1\.\d+e-09: differs", text)


def read(told: Document) -> dict[str, Any]:
    """As a program reads it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(told))
    return found


def test_the_document_of_no_rollout_has_the_keys_of_every_other() -> None:
    told = read(Document(name="iris", function="iris", namespace="team", reason="there is nothing to roll out"))
    assert told.keys() == read(document(Record(running()), 1060.0)).keys()
    assert (told["name"], told["phase"], told["reason"]) == ("iris", None, "there is nothing to roll out")


def test_programs_get_all_of_it() -> None:
    told = read(document(Record(running()), 1060.0))
    assert (told["phase"], told["driver"], told["step"], told["steps"]) == ("running", "", 0, [5, 25, 50, 100])
    assert [(row["variant"], row["traffic"], row["requests"]) for row in told["shares"]] == [
        ("stable", 95, 950),
        ("candidate", 5, 50),
    ]
