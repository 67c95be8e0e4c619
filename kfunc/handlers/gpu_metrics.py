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
    """Show the GPUs that the driver shows to this container; how many there are. What NVML does not tell, of MIG say, is NaN.

    A GPU that is lost, or a driver that fails, costs its metrics and no more.
    """
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except Exception as error:  # an NVMLError, or a function that an old library lacks
        log.warning("GPU metrics are not shown: the driver's library says: %s", error)
        return 0
    shown = 0
    for index in range(count):
        try:
            _watch_one(metrics, nvml, index)
            shown += 1
        except Exception as error:
            log.warning("metrics of GPU %d are not shown: the driver's library says: %s", index, error)
    return shown


def _watch_one(metrics: Metrics, nvml: Any, index: int) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, uuid = (_text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle)))
    about = {"gpu": str(index), "device": name, "uuid": uuid}

    def show(metric: str, text: str, read: Callable[[Any], float]) -> None:
        try:
            read(handle)
        except nvml.NVMLError:
            return  # this device never tells
        metrics.gauge(metric, text, lambda: _read(nvml, read, handle), about)

    show("kfunc_gpu_memory_used_bytes", "Memory of a GPU in use.", lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used)
    show("kfunc_gpu_memory_total_bytes", "Memory of a GPU.", lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total)
    text = "Part of the last moments in which a GPU computed."
    show("kfunc_gpu_utilization_ratio", text, lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100)


def _read(nvml: Any, read: Callable[[Any], float], device: Any) -> float:
    try:
        return float(read(device))
    except nvml.NVMLError:
        return float("nan")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
