"""The GPUs of TensorFlow, on a stand-in with the rules of its context (tensorflow/python/eager/context.py)."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kfunc.errors import ModelLoadError
from tests.handlers.conftest import on_stand_ins


class Gpu:
    device_type = "GPU"


class Config:
    """tf.config: nothing can be changed once an operation has run."""

    def __init__(self, gpus: int) -> None:
        self.gpus = [Gpu() for _ in range(gpus)]
        self.visible = list(self.gpus)
        self.grows: dict[Gpu, bool] = {}
        self.bounds: dict[Gpu, Any] = {}
        self.started = False
        self.experimental = SimpleNamespace(set_memory_growth=self._grow)

    def list_physical_devices(self, kind: str) -> list[Gpu]:
        return self.gpus

    def set_visible_devices(self, devices: list[Gpu], kind: str) -> None:
        self._change(devices != self.visible)
        self.visible = devices

    def _grow(self, gpu: Gpu, enable: bool) -> None:
        if gpu in self.bounds:
            raise ValueError("Cannot set memory growth on device when virtual devices configured")
        self._change(self.grows.get(gpu) != enable)
        self.grows[gpu] = enable

    def LogicalDeviceConfiguration(self, memory_limit: int) -> int:
        return memory_limit

    def set_logical_device_configuration(self, gpu: Gpu, bounds: list[int]) -> None:
        self._change(self.bounds.get(gpu) != bounds)
        self.bounds[gpu] = bounds

    def _change(self, changes: bool) -> None:
        if changes and self.started:
            raise RuntimeError("Physical devices cannot be modified after being initialized")

    def taken_whole(self) -> list[Gpu]:
        """What the first operation would fill."""
        return [gpu for gpu in self.visible if not self.grows.get(gpu) and gpu not in self.bounds]


@pytest.fixture
def config() -> Config:
    return Config(2)


@pytest.fixture
def devices(config: Config, monkeypatch: pytest.MonkeyPatch) -> Any:
    tensorflow: Any = ModuleType("tensorflow")
    tensorflow.config = config
    return on_stand_ins("tensorflow_devices.py", monkeypatch, tensorflow=tensorflow)


def test_a_process_for_the_cpu_sees_no_gpu(devices: Any, config: Config) -> None:
    devices.share_gpus("cpu")
    assert (devices.device_of("cpu", 0), config.visible) == ("/CPU:0", [])


def test_a_model_that_fell_back_to_the_cpu_leaves_the_gpus_to_others(devices: Any, config: Config) -> None:
    devices.share_gpus("auto")
    assert devices.device_of("cpu", 0) == "/CPU:0"
    assert config.taken_whole() == []


@pytest.mark.parametrize(("limit_mb", "bounds"), [(0, []), (512, [[512]])])
def test_the_first_gpu_is_used_within_its_bound(devices: Any, config: Config, limit_mb: int, bounds: Any) -> None:
    devices.share_gpus("auto")
    assert devices.device_of("cuda", limit_mb) == "/GPU:0"
    assert (config.visible, list(config.bounds.values()), config.taken_whole()) == (config.gpus[:1], bounds, [])


def test_a_second_model_changes_nothing_and_does_not_fail(
    devices: Any, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    devices.share_gpus("auto")
    devices.device_of("cuda", 512)
    config.started = True
    devices.share_gpus("auto")
    assert devices.device_of("cuda", 256) == "/GPU:0"
    assert "TensorFlow has one bound for all models of a process, that of the first one" in caplog.text


def test_where_there_is_no_gpu_that_is_told(devices: Any, config: Config) -> None:
    config.gpus = []
    with pytest.raises(ModelLoadError, match="TensorFlow finds no GPU"):
        devices.device_of("cuda", 0)
