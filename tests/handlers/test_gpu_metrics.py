"""GPUs among the metrics, as NVML told of an H100, and of one of its MIG instances."""

from typing import Any

import pytest

from kfunc.handlers.gpu_metrics import watch
from kfunc.telemetry.metrics import Metrics
from tests.telemetry.test_metrics import read, series

GIB = 1024**3


class Facts:
    """What a call of NVML gave."""

    def __init__(self, **values: int) -> None:
        self.__dict__.update(values)


class Nvml:
    """The module pynvml, with `count` GPUs, one of them `sick`; `partitioned` has no utilisation, as MIG has none."""

    class NVMLError(Exception):
        """Its only error."""

    def __init__(self, *, partitioned: bool = False, count: int = 1, sick: int = -1) -> None:
        self.partitioned = partitioned
        self.count = count
        self.sick = sick
        self.lost = False

    def nvmlDeviceGetCount(self) -> int:
        if not self.count:
            raise self.NVMLError("Driver Not Loaded")
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == self.sick:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetName(self, gpu: int) -> Any:
        return b"NVIDIA H100 80GB HBM3"  # bytes with older drivers' bindings

    def nvmlDeviceGetUUID(self, gpu: int) -> str:
        return "GPU-1"

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Facts:
        if self.lost:
            raise self.NVMLError("GPU is lost")
        return Facts(used=3 * GIB, total=80 * GIB)

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Facts:
        if self.partitioned:
            raise self.NVMLError("Not Supported")
        return Facts(gpu=37, memory=12)


ABOUT = {"gpu": "0", "device": "NVIDIA H100 80GB HBM3", "uuid": "GPU-1"}


def test_memory_and_utilisation_are_shown() -> None:
    metrics = Metrics("handler")
    assert watch(metrics, Nvml()) == 1
    assert read(metrics.exposition()) == {
        series("kfunc_gpu_memory_used_bytes", **ABOUT): 3 * GIB,
        series("kfunc_gpu_memory_total_bytes", **ABOUT): 80 * GIB,
        series("kfunc_gpu_utilization_ratio", **ABOUT): 0.37,
    }


def test_what_a_device_never_tells_is_not_shown() -> None:
    metrics = Metrics("handler")
    watch(metrics, Nvml(partitioned=True))
    assert "kfunc_gpu_utilization_ratio" not in metrics.exposition()


def test_a_gpu_that_is_lost_later_does_not_break_the_scrape() -> None:
    metrics, nvml = Metrics("handler"), Nvml()
    watch(metrics, nvml)
    nvml.lost = True
    found = read(metrics.exposition())
    assert str(found[series("kfunc_gpu_memory_used_bytes", **ABOUT)]) == "nan"
    assert found[series("kfunc_gpu_utilization_ratio", **ABOUT)] == 0.37


def test_a_gpu_that_is_lost_at_the_start_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics("handler")
    assert watch(metrics, Nvml(count=2, sick=0)) == 1
    assert series("kfunc_gpu_memory_used_bytes", **ABOUT | {"gpu": "1"}) in read(metrics.exposition())
    assert "metrics of GPU 0 are not shown" in caplog.text


def test_a_driver_that_fails_costs_the_metrics_alone() -> None:
    assert watch(Metrics("handler"), Nvml(count=0)) == 0
