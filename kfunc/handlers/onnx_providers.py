"""onnxruntime's execution providers: what this build offers, and with which options one is used."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported: it would tell Microsoft of each start

import onnxruntime as ort

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.facts import version_of
from kfunc.handlers.accelerators.selection import CPU, Offer
from kfunc.handlers.registry import how_to_install

# Accelerator → provider, the vendor of its GPU; the fastest first.
PROVIDERS = {
    "tensorrt": ("TensorrtExecutionProvider", "nvidia"),
    "cuda": ("CUDAExecutionProvider", "nvidia"),
    "migraphx": ("MIGraphXExecutionProvider", "amd"),
    "rocm": ("ROCMExecutionProvider", "amd"),
    "openvino": ("OpenVINOExecutionProvider", "intel"),
    "coreml": ("CoreMLExecutionProvider", "apple"),
    CPU: ("CPUExecutionProvider", ""),
}
LIMITS = {"rocm": "gpu_mem_limit", "migraphx": "migraphx_mem_limit"}
"""The option with the bound on memory; a provider refuses one that it does not know."""
ENGINES = "engines"
"""Folder beside a model with what TensorRT has built for it."""
MIB = 2**20

Provider = tuple[str, dict[str, str]]


def offered() -> list[Offer]:
    """What this onnxruntime can use for a model that it has built no engine for."""
    return offers(Path("model.onnx"), "auto", ort.get_available_providers())


def offers(path: Path, wanted: str, available: list[str]) -> list[Offer]:
    """What an onnxruntime with the `available` providers can use for the model at `path`."""
    return list(_offers(path, wanted, available))


def _offers(path: Path, wanted: str, available: list[str]) -> Iterator[Offer]:
    cuda = version_of(str(getattr(_build(), "cuda_version", "")))
    ways = {"nvidia": f"; pip uninstall onnxruntime, then {how_to_install('onnx-gpu')}"}
    for accelerator, (provider, vendor) in PROVIDERS.items():
        missing = "" if provider in available else f"this onnxruntime offers {', '.join(available)}{ways.get(vendor, '')}"
        if accelerator == wanted == "openvino":
            vendor = ""  # it computes on Intel's processors as well, where that is asked for
        waits = accelerator == "tensorrt" and not any(engines(path).glob("*.engine"))  # building one takes minutes
        yield Offer(accelerator, vendor, cuda if vendor == "nvidia" else None, (), missing, waits and wanted != accelerator)


def _build() -> Any:
    try:
        from onnxruntime.capi import build_and_package_info
    except ImportError:  # the CPU's package may have none
        return None
    return build_and_package_info


def engines(path: Path) -> Path:
    """Where TensorRT's engines for a model are."""
    return path.parent / ENGINES


def providers(accelerator: str, path: Path, limit_mb: int) -> list[Provider]:
    """The provider of an accelerator with its options, and what runs the nodes that it cannot."""
    cpu: Provider = (PROVIDERS[CPU][0], {})
    if accelerator == CPU:
        return [cpu]
    cuda: Provider = (PROVIDERS["cuda"][0], _memory("gpu_mem_limit", limit_mb) | {"arena_extend_strategy": "kSameAsRequested"})
    if accelerator == "cuda":
        return [cuda, cpu]
    if accelerator == "tensorrt":
        engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines(path))}
        return [(PROVIDERS[accelerator][0], engine | _memory("trt_max_workspace_size", limit_mb)), cuda, cpu]
    limit = _memory(LIMITS[accelerator], limit_mb) if accelerator in LIMITS else {}
    return [(PROVIDERS[accelerator][0], limit), cpu]


def _memory(option: str, limit_mb: int) -> dict[str, str]:
    return {option: str(limit_mb * MIB)} if limit_mb else {}


def prepare(accelerator: str) -> None:
    """CUDA and cuDNN as Python packages are on no path that the loader searches."""
    if accelerator in ("cuda", "tensorrt") and find_spec("nvidia") is not None:
        ort.preload_dlls()


def require_started(accelerator: str, used: list[str]) -> None:
    """A provider that is compiled in may still not start: without a library onnxruntime goes on without it.

    Raises ModelLoadError.
    """
    provider = PROVIDERS[accelerator][0]
    if provider not in used:
        raise ModelLoadError(
            f"onnxruntime could not start {provider} (a driver, CUDA or cuDNN is missing or of another version); "
            "its lines above say more"
        )
