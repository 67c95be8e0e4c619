"""Between numpy's arrays and PyTorch's tensors, without a copy on the CPU."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

DATATYPES: dict[torch.dtype, str] = {
    torch.bool: "BOOL",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.float32: "FP32",
    torch.float64: "FP64",
    **{getattr(torch, f"{sign}int{bits}"): f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def to_tensor(array: "np.ndarray[Any, Any]", device: torch.device, *, bits: bool = False) -> torch.Tensor:
    """An array on the device; `bits`: it holds BF16, which numpy does not have, as UINT16."""
    try:
        tensor = torch.from_numpy(array)
    except ValueError:  # steps backwards, as of an array that a preprocess has flipped
        tensor = torch.from_numpy(np.ascontiguousarray(array))
    if bits:
        tensor = tensor.view(torch.bfloat16)
    return tensor if device.type == "cpu" else tensor.to(device, non_blocking=True)


def to_array(value: Any, *, bits: bool = False) -> "np.ndarray[Any, Any]":
    """A tensor, or a number or list that a model gives, as an array; BF16 as UINT16 with `bits`, else as FP32."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach().cpu()
    if value.dtype == torch.bfloat16:
        value = value.contiguous().view(torch.uint16) if bits else value.float()
    array: np.ndarray[Any, Any] = value.numpy()
    return array


def named(result: Any, names: Sequence[str]) -> dict[str, Any]:
    """What a model gives, by name: its own names where it gives some, else `names`, else output-0, output-1 …"""
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items() if value is not None}
    values = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(names) != len(values):
        names = [f"output-{index}" for index in range(len(values))]
    return dict(zip(names, values, strict=True))
