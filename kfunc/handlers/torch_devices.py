"""What PyTorch can compute on as it is installed, and the device for an accelerator."""

import logging
import re

import torch

from kfunc.handlers.accelerators.facts import Version, version_of
from kfunc.handlers.accelerators.selection import CPU, Offer

DEVICES = {"cuda": "cuda", "rocm": "cuda", "xpu": "xpu", "mps": "mps", CPU: CPU}
MIB = 2**20
log = logging.getLogger("kfunc.model")
_bounds: set[int] = set()  # in MiB, of the models of this process


def offers() -> list[Offer]:
    """CUDA or ROCm, whichever this build is for, Intel's and Apple's GPUs, the CPU."""
    cuda, hip = torch.version.cuda, torch.version.hip
    found = [
        Offer("cuda", "nvidia", cuda=version_of(cuda), capabilities=_capabilities()) if cuda else _not_built("cuda", "nvidia"),
        Offer("rocm", "amd") if hip else _not_built("rocm", "amd"),
        Offer("xpu", "intel") if torch.xpu._is_compiled() else _not_built("xpu", "intel"),
        Offer("mps", "apple") if torch.backends.mps.is_built() else _not_built("mps", "apple"),
    ]
    return [*found, Offer(CPU)]


def _not_built(accelerator: str, vendor: str) -> Offer:
    return Offer(accelerator, vendor, unavailable=f"torch {torch.__version__} is built without {accelerator}")


def _capabilities() -> tuple[Version, ...]:
    """The compute capabilities that this build has code for, read without starting CUDA."""
    flags = torch._C._cuda_getArchFlags() if hasattr(torch._C, "_cuda_getArchFlags") else None
    numbers = re.findall(r"sm_(\d+)(\d)", flags or "")
    return tuple((int(major), int(minor)) for major, minor in numbers)


def device_of(accelerator: str, limit_mb: int = 0) -> torch.device:
    """The device, with the bound on this process's memory there. Raises what the framework raises where it does not start."""
    device = torch.device(DEVICES[accelerator])
    if accelerator == CPU:
        return device
    torch.ones(1, device=device).add_(1).cpu()  # starts it
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())  # what bounds memory takes no device without a number
        if limit_mb:
            _bound(device, limit_mb)
    elif limit_mb:
        log.warning("model.gpu_memory_mb is not heeded on %s: PyTorch bounds memory on CUDA and ROCm alone", accelerator)
    return device


def _bound(device: torch.device, limit_mb: int) -> None:
    """PyTorch has one bound for a process: the last one counts."""
    if _bounds - {limit_mb}:
        log.warning("model.gpu_memory_mb: PyTorch has one bound for all models of a process; now it is %d", limit_mb)
    _bounds.add(limit_mb)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_mb * MIB / total), device)


def use_threads(count: int) -> None:
    """Threads of one call."""
    torch.set_num_threads(count)
