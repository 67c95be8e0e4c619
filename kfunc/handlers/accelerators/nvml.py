"""NVIDIA's GPUs and driver as NVML tells them: no CUDA context is made, and no framework imported."""

from typing import Any

from kfunc.errors import KfuncError
from kfunc.handlers.accelerators.facts import Gpu, Version


class NoNvml(KfuncError):
    """The driver's library cannot be asked."""


def read(nvml: Any) -> tuple[list[Gpu], str, Version]:
    """GPUs with the instances of partitioned ones behind them, the driver's version, the newest CUDA that it runs.

    `nvml` is the module `pynvml`. Raises NoNvml.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NoNvml(f"the driver's library says: {error}") from None
    try:
        gpus: list[Gpu] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            gpus += _gpus(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
        newest = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
        return gpus, _text(nvml.nvmlSystemGetDriverVersion()), (newest // 1000, newest % 1000 // 10)
    except nvml.NVMLError as error:
        raise NoNvml(f"the driver's library says: {error}") from None
    finally:
        nvml.nvmlShutdown()


def _gpus(nvml: Any, handle: Any) -> list[Gpu]:
    uuid = _text(nvml.nvmlDeviceGetUUID(handle))
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    name, capability = _text(nvml.nvmlDeviceGetName(handle)), (int(major), int(minor))
    whole = Gpu("nvidia", name, uuid, _memory(nvml, handle), capability)
    return [whole, *_instances(nvml, handle, name, uuid, capability)]


def _instances(nvml: Any, handle: Any, name: str, uuid: str, capability: Version) -> list[Gpu]:
    try:
        partitioned = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError:  # a GPU that has no MIG
        return []
    found: list[Gpu] = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if partitioned else 0):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError:  # a place without an instance
            continue
        own = _text(nvml.nvmlDeviceGetUUID(instance))
        found.append(Gpu("nvidia", f"{name} MIG", own, _memory(nvml, instance), capability, uuid))
    return found


def _memory(nvml: Any, handle: Any) -> int:
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError:  # GPUs that share the processor's memory have none of their own
        return 0


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
