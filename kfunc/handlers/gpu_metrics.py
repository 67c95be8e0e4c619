"""NVIDIA's GPUs among the metrics: memory and utilisation, by NVML (the extra `nvidia`), asked at each scrape."""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

from kfunc.telemetry.metrics import Metrics

log = logging.getLogger("kfunc.telemetry")


def load_nvml() -> Any:
    """The module `pynvml`, initialised; None where it is not here, or finds no driver."""
    try:
        nvml = import_module("pynvml")
        nvml.nvmlInit()
    except ImportError:
        return None
    except Exception as error:  # an NVMLError; its class is the module's
        log.warning("GPU metrics are not shown: the driver's library says: %s", error)
        return None
    return nvml


def watch(metrics: Metrics, nvml: Any) -> int:
    """Show the GPUs that this process sees; how many there are. What NVML does not tell, of MIG say, is NaN."""
    count = int(nvml.nvmlDeviceGetCount())
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name, uuid = (_text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle)))
        about = {"gpu": str(index), "device": name, "uuid": uuid}

        def show(metric: str, text: str, read: Callable[[Any], float], device: Any = handle, labels: Any = about) -> None:
            try:
                read(device)
            except nvml.NVMLError:
                return  # this device never tells
            metrics.gauge(metric, text, lambda: _read(nvml, read, device), labels)

        show("kfunc_gpu_memory_used_bytes", "Memory of a GPU in use.", lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used)
        show("kfunc_gpu_memory_total_bytes", "Memory of a GPU.", lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total)
        text = "Part of the last moments in which a GPU computed."
        show("kfunc_gpu_utilization_ratio", text, lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100)
    return count


def _read(nvml: Any, read: Callable[[Any], float], device: Any) -> float:
    try:
        return float(read(device))
    except nvml.NVMLError:
        return float("nan")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
