"""What runtimes would run on, without a model."""

from collections.abc import Sequence

from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.selection import Offer
from kfunc.handlers.accelerators.survey import OFFERS, Survey, installed, survey
from kfunc.handlers.registry import RUNTIMES

GPU = Facts((Gpu("nvidia", "NVIDIA L4"),), {}, "580.95.05", (13, 0))


def offers(runtime: str) -> Sequence[Offer]:
    if runtime == "paddle":
        raise ImportError("libgomp.so.1: cannot open shared object file\nmore")
    return [Offer("cuda", "nvidia", unavailable="built without CUDA" if runtime == "onnx" else ""), Offer("cpu")]


def test_each_runtime_tells_what_auto_would_try_and_why_not_more() -> None:
    assert survey(["torch", "onnx", "paddle"], GPU, offers) == [
        Survey("torch", ("cuda", "cpu")),
        Survey("onnx", ("cpu",), (("cuda", "built without CUDA"),)),
        Survey("paddle", fault="it cannot be imported: libgomp.so.1: cannot open shared object file"),
    ]


def test_the_runtimes_that_are_installed_can_be_asked() -> None:
    found = survey()
    assert [each.runtime for each in found] == installed()
    assert all(each.candidates for each in found if each.runtime == "onnx")


def test_only_runtimes_of_the_registry_are_asked() -> None:
    assert OFFERS.keys() <= RUNTIMES.keys()
