"""The fuzzer finds what it is there to find; and a short run over all targets finds nothing."""

import mmap
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from kfunc.errors import InvalidRequest, KfuncError
from tests.fuzz import engine
from tests.fuzz.__main__ import main
from tests.fuzz.engine import Target, check_message, examine, run
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import TARGETS

COUNT = 3000


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutated_inputs_are_answered_or_refused(target: Target) -> None:
    report = run(target, COUNT)
    assert report.finding is None
    assert (report.asked, report.kinds > 1) == (COUNT, True)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_seeds_reach_the_code_behind_the_decoder(target: Target) -> None:
    answers = [engine.answer(target, seed)[0] for seed in target.seeds]
    assert answers.count(False) >= len(answers) / 2


def target_that(call: Callable[[bytes], object]) -> Target:
    return Target("test", [b'{"a":[1,2]}'], call)


def crash_on_a_bracket_too_many(content: bytes) -> None:
    if content.count(b"[") > 1:
        raise KeyError(content)
    raise InvalidRequest("wrong")


def fail_inside(content: bytes) -> None:
    raise KfuncError("ours")


def say_too_much(content: bytes) -> None:
    raise InvalidRequest("at <Decoder object at 0x7f>")


@pytest.mark.parametrize(
    ("call", "reason"),
    [(crash_on_a_bracket_too_many, "KeyError"), (fail_inside, "KfuncError: ours"), (say_too_much, "AssertionError: a message")],
)
def test_what_is_no_refusal_is_a_finding_that_can_be_asked_again(call: Callable[[bytes], object], reason: str) -> None:
    target = target_that(call)
    finding = run(target, 1000).finding
    assert finding is not None
    assert finding.reason.startswith(reason)
    assert examine(target, finding.content) == finding


def test_a_slow_input_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOW_S", 0.001)
    finding = run(target_that(lambda content: sum(range(200_000))), 10).finding
    assert finding is not None
    assert finding.reason.startswith("took ")


def test_memory_that_is_kept_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GROWTH_ANYWAY", 0)
    kept: list[mmap.mmap] = []

    def keep(content: bytes) -> None:
        kept.append(mmap.mmap(-1, 16_384))  # pages of its own: the heap may have room from tests before
        kept[-1].write(b"x" * 16_384)

    finding = run(target_that(keep), 2000).finding
    assert finding is not None
    assert finding.reason.startswith("memory grew by ")


def test_a_message_may_not_be_empty() -> None:
    with pytest.raises(AssertionError):
        check_message(InvalidRequest(""))


def test_the_same_seed_makes_the_same_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        mutator = Mutator(Random(seed), [b'{"a":[1,2]}', b"abc"])
        return [mutator.next() for _ in range(200)]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)


def test_an_answer_of_a_new_kind_makes_its_input_a_seed() -> None:
    """Only doubling makes more of this letter: one change after the other, each of what the last one came to."""
    report = run(Target("test", [b"Q"], lambda content: content.count(b"Q").bit_length()), 3000)
    assert report.kinds >= 12


def test_the_command_ends_with_status_1_and_keeps_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.fuzz.__main__.TARGETS", [target_that(crash_on_a_bracket_too_many)])
    assert main(["--count", "1000", "--save", str(tmp_path)]) == 1
    assert (tmp_path / "test.bin").read_bytes().count(b"[") > 1
    assert "with findings" in capsys.readouterr().out
    assert main(["--target", "test", "--again", str(tmp_path / "test.bin")]) == 1


def test_the_command_ends_with_status_0_where_nothing_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "80", "--save", str(tmp_path), "--seed", "1"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "no finding" in capsys.readouterr().out
