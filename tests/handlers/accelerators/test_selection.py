"""What a runtime offers and what a machine has → which accelerators are tried; recorded facts of machines as input."""

import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.selection import Offer, objection, select

CPU = Offer("cpu")
CUDA_12 = Offer("cuda", "nvidia", cuda=(12, 8), capabilities=((7, 5), (8, 0), (9, 0)))
CUDA_13 = Offer("cuda", "nvidia", cuda=(13, 2))
TENSORRT = Offer("tensorrt", "nvidia", cuda=(12, 8))
UNCACHED = Offer("tensorrt", "nvidia", cuda=(12, 8), only_asked=True)
ROCM, XPU, MPS = Offer("rocm", "amd"), Offer("xpu", "intel"), Offer("mps", "apple")

T4 = Facts((Gpu("nvidia", "Tesla T4", "GPU-1", 15 * 2**30, (7, 5)),), {}, "550.54.15", (12, 4))
H100 = Facts((Gpu("nvidia", "NVIDIA H100 80GB HBM3", "GPU-2", 80 * 2**30, (9, 0)),), {}, "580.95.05", (13, 0))
K80 = Facts((Gpu("nvidia", "Tesla K80", "GPU-3", 12 * 2**30, (3, 7)),), {}, "470.256.02", (11, 4))
COMPAT = Facts(K80.gpus, {}, K80.driver, K80.cuda, compat=True)
B200 = Facts((Gpu("nvidia", "NVIDIA B200", "GPU-4", 180 * 2**30, (10, 0)),), {}, "580.95.05", (13, 0))
MI300 = Facts((Gpu("amd", "gfx 90402"),), {"nvidia": "no NVIDIA GPU here (there is no /dev/nvidia0)"})
ARC = Facts((Gpu("intel", "/dev/dri/renderD128"),), {})
MAC = Facts((Gpu("apple", "Apple GPU"),), {})
NOTHING = Facts(
    (), {"nvidia": "no NVIDIA GPU here (there is no /dev/nvidia0)", "amd": "no AMD GPU here (there is no /dev/kfd)"}
)
HIDDEN = Facts((), {"nvidia": "CUDA_VISIBLE_DEVICES is empty and hides 1 GPU"})


@pytest.mark.parametrize(
    ("offers", "facts", "candidates"),
    [
        ([CUDA_12, CPU], H100, ("cuda", "cpu")),
        ([CUDA_12, CPU], T4, ("cuda", "cpu")),
        ([CUDA_13, CPU], T4, ("cpu",)),  # its driver is older than CUDA 13 needs
        ([CUDA_13, CPU], H100, ("cuda", "cpu")),
        ([CUDA_12, CPU], K80, ("cpu",)),
        ([CUDA_12, CPU], COMPAT, ("cpu",)),  # the newer library is there, but no code for the GPU
        ([CUDA_12, CPU], B200, ("cuda", "cpu")),  # newer than all that it has code for: the self-test tells
        ([TENSORRT, CUDA_12, CPU], H100, ("tensorrt", "cuda", "cpu")),
        ([UNCACHED, CUDA_12, CPU], H100, ("cuda", "cpu")),
        ([CUDA_12, ROCM, XPU, MPS, CPU], MI300, ("rocm", "cpu")),
        ([CUDA_12, ROCM, XPU, MPS, CPU], ARC, ("xpu", "cpu")),
        ([CUDA_12, ROCM, XPU, MPS, CPU], MAC, ("mps", "cpu")),
        ([CUDA_12, ROCM, XPU, MPS, CPU], NOTHING, ("cpu",)),
        ([CUDA_12, CPU], HIDDEN, ("cpu",)),
        ([CPU], H100, ("cpu",)),
    ],
)
def test_auto_tries_what_can_work_from_the_fastest_on(offers: list[Offer], facts: Facts, candidates: tuple[str, ...]) -> None:
    assert select("auto", offers, facts, "x").candidates == candidates


@pytest.mark.parametrize(
    ("offer", "facts", "reason"),
    [
        (CUDA_12, H100, ""),
        (CPU, NOTHING, ""),
        (CUDA_12, NOTHING, "no NVIDIA GPU here (there is no /dev/nvidia0)"),
        (CUDA_12, HIDDEN, "CUDA_VISIBLE_DEVICES is empty and hides 1 GPU"),
        (CUDA_13, T4, "it is built for CUDA 13.2, which needs driver 580.65 or newer, and 550.54.15 is here"),
        (Offer("cuda", "nvidia", cuda=(14, 0)), H100, "it is built for CUDA 14.0, and driver 580.95.05 runs at most CUDA 13.0"),
        (CUDA_12, COMPAT, "Tesla K80 has compute capability 3.7, and it is built for 7.5 to 9.0"),
        (
            Offer("cuda", "nvidia", capabilities=((9, 0),)),
            T4,
            "Tesla T4 has compute capability 7.5, and it is built for 9.0 to 9.0",
        ),
        (ROCM, NOTHING, "no AMD GPU here (there is no /dev/kfd)"),
        (Offer("cuda", "nvidia", unavailable="built without CUDA"), H100, "built without CUDA"),
    ],
)
def test_the_reason_against_an_accelerator_names_both_sides(offer: Offer, facts: Facts, reason: str) -> None:
    assert objection(offer, facts) == reason


@pytest.mark.parametrize(("offers", "idle"), [([CPU], True), ([CUDA_12, CPU], False)])
def test_a_gpu_that_stays_idle_is_noticed(offers: list[Offer], idle: bool) -> None:
    assert select("auto", offers, H100, "x").idle_gpu is idle


def test_an_accelerator_that_is_demanded_is_the_only_one_that_is_tried() -> None:
    assert select("cuda", [CUDA_12, CPU], H100, "x").candidates == ("cuda",)
    assert select("tensorrt", [UNCACHED, CPU], H100, "x").candidates == ("tensorrt",)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cuda", "accelerator cuda is not available: no NVIDIA GPU here (there is no /dev/nvidia0); accelerator: auto would"),
        ("mps", "accelerator mps is not available: torch 2 as it is installed offers cuda, cpu"),
    ],
)
def test_a_demand_that_cannot_be_met_is_refused_with_the_cause(wanted: str, message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        select(wanted, [CUDA_12, CPU], NOTHING, "torch 2")
    assert caught.value.message.startswith(message)
