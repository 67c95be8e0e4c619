"""The devices of PyTorch, on a stand-in that refuses what PyTorch 2.6 to 2.9 refuse (torch/cuda/memory.py)."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.handlers.conftest import on_stand_ins


class Device:
    """torch.device: without a number it means the current one."""

    def __init__(self, kind: str, index: int | None = None) -> None:
        self.type, self.index = kind, index


class Cuda:
    """torch.cuda of a machine with two GPUs of 8 GiB, of which the second is the current one."""

    def __init__(self) -> None:
        self.bound: dict[int, float] = {}

    def current_device(self) -> int:
        return 1

    def get_device_properties(self, device: Device) -> Any:
        return SimpleNamespace(total_memory=8 * 2**30)

    def set_per_process_memory_fraction(self, fraction: float, device: Device) -> None:
        if device.index is None:
            raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device.type}")
        self.bound[device.index] = fraction


@pytest.fixture
def cuda() -> Cuda:
    return Cuda()


@pytest.fixture
def device_of(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Device]:
    """The function, of a copy of its module that has the stand-in."""
    started = SimpleNamespace(add_=lambda one: SimpleNamespace(cpu=lambda: None))
    torch: Any = ModuleType("torch")
    torch.device, torch.cuda, torch.ones = Device, cuda, lambda count, device: started
    found: Callable[..., Device] = on_stand_ins("torch_devices.py", monkeypatch, torch=torch).device_of
    return found


@pytest.mark.parametrize("accelerator", ["cuda", "rocm"])
def test_a_bound_is_of_the_gpu_that_is_used(accelerator: str, device_of: Callable[..., Device], cuda: Cuda) -> None:
    device = device_of(accelerator, 2048)
    assert (device.type, device.index) == ("cuda", 1)
    assert cuda.bound == {1: 0.25}


def test_without_a_bound_none_is_set(device_of: Callable[..., Device], cuda: Cuda) -> None:
    assert device_of("cuda").index == 1
    assert cuda.bound == {}
