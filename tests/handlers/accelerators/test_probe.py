"""The probe on file trees of machines and a fake of NVML's module."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.probe import probe

LINUX = ("linux", "x86_64")


class NVMLError(Exception):
    """NVML's own."""


class Nvml:
    """What the module pynvml has, for GPUs given as name, UUID, memory and the UUIDs of their instances."""

    NVMLError = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, *gpus: tuple[str, str, int, list[str]], fails: str = "") -> None:
        self.gpus = gpus
        self.fails = fails
        self.open = 0

    def nvmlInit(self) -> None:
        if self.fails:
            raise NVMLError(self.fails)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu: Any) -> bytes:
        return str(gpu[0]).encode()  # older versions of the module give bytes

    def nvmlDeviceGetUUID(self, gpu: Any) -> str:
        return str(gpu[1])

    def nvmlDeviceGetMemoryInfo(self, gpu: Any) -> Any:
        if not gpu[2]:
            raise NVMLError("Not Supported")
        return SimpleNamespace(total=gpu[2])

    def nvmlDeviceGetCudaComputeCapability(self, gpu: Any) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetMigMode(self, gpu: Any) -> list[int]:
        if gpu[3] is None:
            raise NVMLError("Not Supported")
        return [int(bool(gpu[3])), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: Any, index: int) -> Any:
        if index >= len(gpu[3]):
            raise NVMLError("Not Found")
        return "MIG", gpu[3][index], 10, None

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 13010


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def missing() -> Any:
    raise ModuleNotFoundError("No module named 'pynvml'")


def test_nvidias_gpus_come_with_driver_cuda_memory_and_capability(tmp_path: Path) -> None:
    nvml = Nvml(("H100", "GPU-1", 80, []))
    found = probe({}, machine(tmp_path, {"dev/nvidia0": ""}), lambda: nvml, LINUX)
    assert found.gpus == (Gpu("nvidia", "H100", "GPU-1", 80, (9, 0)),)
    assert (found.driver, found.cuda, found.compat, nvml.open) == ("580.95.05", (13, 1), False, 0)


def test_an_instance_of_a_partitioned_gpu_is_the_device(tmp_path: Path) -> None:
    root = machine(tmp_path, {"dev/nvidia0": "", "usr/local/cuda/compat/libcuda.so.1": ""})
    nvml = Nvml(("H100", "GPU-1", 80, ["MIG-1", "MIG-2"]))
    found = probe({"CUDA_VISIBLE_DEVICES": "MIG-2"}, root, lambda: nvml, LINUX)
    assert found.gpus == (Gpu("nvidia", "H100 MIG", "MIG-2", 10, (9, 0), "GPU-1"),)
    assert found.compat


def test_a_gpu_without_memory_of_its_own_and_without_partitions_is_found(tmp_path: Path) -> None:
    nvml = Nvml(("GB10", "GPU-1", 0, None))  # type: ignore[arg-type]
    assert probe({}, machine(tmp_path, {"dev/nvidia0": ""}), lambda: nvml, LINUX).gpus[0].memory_bytes == 0


@pytest.mark.parametrize(
    ("files", "nvml", "environ", "why"),
    [
        ({}, Nvml(), {}, "no NVIDIA GPU here (there is no /dev/nvidia0)"),
        (
            {"dev/nvidia0": ""},
            Nvml(fails="Driver/library version mismatch"),
            {},
            "there is /dev/nvidia0, but the driver's library says: Driver/library version mismatch",
        ),
        ({"dev/nvidia0": ""}, None, {}, "there is /dev/nvidia0, and nothing to ask its driver with: pip install nvidia-ml-py"),
        (
            {"dev/nvidia0": ""},
            Nvml(("T4", "GPU-1", 1, [])),
            {"CUDA_VISIBLE_DEVICES": ""},
            "CUDA_VISIBLE_DEVICES is empty and hides 1 GPU",
        ),
        ({"dev/nvidia0": ""}, Nvml(), {}, "the driver knows no GPU"),
    ],
)
def test_why_there_is_no_nvidia_gpu_is_told(
    files: dict[str, str], nvml: Nvml | None, environ: dict[str, str], why: str, tmp_path: Path
) -> None:
    found = probe(environ, machine(tmp_path, files), (lambda: nvml) if nvml else missing, LINUX)
    assert (found.gpus, found.absent["nvidia"]) == ((), why)


KFD = "sys/class/kfd/kfd/topology/nodes"
AMD = {
    "dev/kfd": "",
    f"{KFD}/0/properties": "simd_count 0\n",
    f"{KFD}/1/properties": "simd_count 304\ngfx_target_version 90402\n",
}
INTEL = {"dev/dri/renderD128": "", "sys/class/drm/renderD128/device/vendor": "0x8086\n"}


@pytest.mark.parametrize(
    ("files", "system", "gpus"),
    [
        (AMD, LINUX, (Gpu("amd", "gfx 90402"),)),
        (INTEL, LINUX, (Gpu("intel", "/dev/dri/renderD128"),)),
        ({**INTEL, "sys/class/drm/renderD128/device/vendor": "0x1002\n"}, LINUX, ()),
        ({}, ("darwin", "arm64"), (Gpu("apple", "Apple GPU"),)),
        ({}, ("darwin", "x86_64"), ()),
        ({}, LINUX, ()),
    ],
)
def test_gpus_of_other_makers_are_found_by_their_files(
    files: dict[str, str], system: tuple[str, str], gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    assert probe({}, machine(tmp_path, files), missing, system).gpus == gpus


def test_an_empty_variable_hides_amds_gpus(tmp_path: Path) -> None:
    found = probe({"HIP_VISIBLE_DEVICES": ""}, machine(tmp_path, AMD), missing, LINUX)
    assert found.absent["amd"] == "HIP_VISIBLE_DEVICES is empty and hides 1 GPU"


def test_this_machine_can_be_looked_at() -> None:
    assert isinstance(probe({}), Facts)
