"""Candidates are tried until one passes its self-test."""

import logging
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.selection import Offer
from kfunc.handlers.contract import Choice

FACTS = Facts((Gpu("nvidia", "Tesla T4"),), {"amd": "no AMD GPU here"})
OFFERS = [Offer("tensorrt", "nvidia"), Offer("cuda", "nvidia"), Offer("rocm", "amd"), Offer("cpu")]


def opens_but(**failures: str) -> Callable[[str], str]:
    def open_on(accelerator: str) -> str:
        if accelerator in failures:
            raise RuntimeError(failures[accelerator])
        return accelerator

    return open_on


def self_test(**failures: str) -> Callable[[str], None]:
    def test(opened: str) -> None:
        if opened in failures:
            raise RuntimeError(failures[opened])

    return test


NO_AMD = "rocm: no AMD GPU here"


@pytest.mark.parametrize(
    ("opens", "tests", "choice"),
    [
        ({}, {}, Choice("tensorrt", "Tesla T4", NO_AMD)),
        ({"tensorrt": "no engine"}, {}, Choice("cuda", "Tesla T4", f"{NO_AMD}; tensorrt: no engine", True)),
        (
            {"tensorrt": "no engine"},
            {"cuda": "CUDA error: no kernel image\nmore"},
            Choice(
                "cpu", "", f"{NO_AMD}; tensorrt: no engine; cuda: a first inference failed: CUDA error: no kernel image", True
            ),
        ),
        ({}, {"tensorrt": "sizes of 1", "cuda": "sizes of 1", "cpu": "sizes of 1"}, Choice("tensorrt", "Tesla T4", NO_AMD)),
    ],
)
def test_the_first_that_opens_and_passes_is_taken(opens: dict[str, str], tests: dict[str, str], choice: Choice) -> None:
    assert choose("auto", OFFERS, FACTS, opens_but(**opens), self_test(**tests)) == (choice.accelerator, choice)


def test_what_failed_gives_its_memory_back_before_the_next_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    freed: list[int] = []

    class Cuda:
        def is_available(self) -> bool:
            return True

        def empty_cache(self) -> None:
            freed.append(len(held))

    torch: Any = ModuleType("torch")
    torch.cuda, torch.mps, torch.backends = Cuda(), SimpleNamespace(empty_cache=None), SimpleNamespace()  # as torch 2.6
    monkeypatch.setitem(sys.modules, "torch", torch)

    class Weights:
        def __init__(self) -> None:
            held.append("some")

        def __del__(self) -> None:
            held.pop()

    def open_on(accelerator: str) -> str:
        weights = Weights()
        if accelerator == "tensorrt":
            raise RuntimeError("CUDA error: out of memory")
        del weights
        return accelerator

    assert choose("auto", OFFERS, FACTS, open_on)[0] == "cuda"
    assert freed == [0]


def test_falling_back_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        choose("auto", OFFERS, FACTS, opens_but(tensorrt="a", cuda="b"))
    assert caplog.messages == [f"the model runs on cpu: {NO_AMD}; tensorrt: a; cuda: b"]


def test_a_machine_without_gpus_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    choose("auto", OFFERS, Facts((), {"nvidia": "none", "amd": "none"}), opens_but())
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("opens", "tests", "message"),
    [
        ({"cuda": "driver shutting down"}, {}, "accelerator cuda cannot be used: driver shutting down"),
        ({}, {"cuda": "no kernel image"}, "accelerator cuda cannot be used: a first inference failed: no kernel image"),
    ],
)
def test_a_demanded_accelerator_that_fails_is_refused(opens: dict[str, str], tests: dict[str, str], message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        choose("cuda", OFFERS, FACTS, opens_but(**opens), self_test(**tests))
    assert caught.value.message == message


def test_what_the_cpu_cannot_open_either_is_the_models_fault() -> None:
    with pytest.raises(RuntimeError, match="broken file"):
        choose("auto", OFFERS, FACTS, opens_but(tensorrt="x", cuda="x", cpu="broken file"))


SIZES_OF_1 = self_test(tensorrt="sizes of 1", cuda="sizes of 1", cpu="sizes of 1")


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_zeros_that_the_cpu_does_not_take_either_are_not_the_gpus_fault(wanted: str) -> None:
    assert choose(wanted, OFFERS[1:], FACTS, opens_but(), SIZES_OF_1)[1].accelerator == "cuda"


@pytest.mark.parametrize(("wanted", "taken"), [("auto", "tensorrt"), ("cuda", "cuda"), ("cpu", "cpu")])
def test_a_model_that_each_opening_moves_is_left_where_the_choice_says(wanted: str, taken: str) -> None:
    moves: list[str] = []

    def move(accelerator: str) -> str:
        moves.append(accelerator)
        return accelerator

    opened, choice = choose(wanted, OFFERS, FACTS, move, SIZES_OF_1)
    assert (opened, choice.accelerator, moves[-1]) == (taken, taken, taken)


def test_a_way_back_that_fails_is_a_failure_of_the_accelerator() -> None:
    opened: list[str] = []

    def once(accelerator: str) -> str:
        if accelerator in opened:
            raise RuntimeError("the second time")
        opened.append(accelerator)
        return accelerator

    with pytest.raises(ModelLoadError, match="accelerator cuda cannot be used: the second time"):
        choose("cuda", OFFERS, FACTS, once, SIZES_OF_1)
