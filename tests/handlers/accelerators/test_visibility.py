"""CUDA_VISIBLE_DEVICES → the GPUs that are left."""

import pytest

from kfunc.handlers.accelerators.facts import Gpu
from kfunc.handlers.accelerators.visibility import visible

A, B = Gpu("nvidia", "A100", "GPU-aaaa1111"), Gpu("nvidia", "A100", "GPU-aaab2222")
PARTITIONED = Gpu("nvidia", "H100", "GPU-cccc")
ONE, TWO = (Gpu("nvidia", "H100 MIG", f"MIG-{name}", parent="GPU-cccc") for name in ("d1", "d2"))
TWO_GPUS, SLICES = [A, B], [PARTITIONED, ONE, TWO]


@pytest.mark.parametrize(
    ("gpus", "value", "left"),
    [
        (TWO_GPUS, None, (A, B)),
        (TWO_GPUS, "0", (A,)),
        (TWO_GPUS, "1,0", (B, A)),
        (TWO_GPUS, "GPU-aaab", (B,)),
        (TWO_GPUS, "GPU-aaaa1111,GPU-aaab2222", (A, B)),
        (TWO_GPUS, "1,7,0", (B,)),  # the list ends at what there is not
        (TWO_GPUS, "GPU-aaa", ()),  # could be either
        (TWO_GPUS, "", ()),
        (TWO_GPUS, "-1", ()),
        (TWO_GPUS, "NoDevFiles", ()),
        (TWO_GPUS, "0,0", ()),
        (TWO_GPUS, "GPU-", ()),
        (SLICES, None, (ONE,)),  # a process computes on one instance
        (SLICES, "MIG-d2", (TWO,)),
        (SLICES, "MIG-GPU-cccc/1/0", (ONE,)),
        (SLICES, "MIG-d1,MIG-d2", (ONE,)),
        (SLICES, "MIG-x", ()),
    ],
)
def test_the_variable_names_what_a_process_sees(gpus: list[Gpu], value: str | None, left: tuple[Gpu, ...]) -> None:
    assert visible(gpus, value)[0] == left


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "CUDA_VISIBLE_DEVICES is empty and hides 2 GPUs"),
        ("7", "CUDA_VISIBLE_DEVICES=7 names none of 2 GPUs"),
        ("0,0", "CUDA_VISIBLE_DEVICES=0,0 names a device twice, and then CUDA uses none"),
    ],
)
def test_the_reason_why_none_is_left_names_the_variable(value: str, why: str) -> None:
    assert visible(TWO_GPUS, value) == ((), why)
