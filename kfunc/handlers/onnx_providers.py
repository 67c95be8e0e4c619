"""onnxruntime's execution providers: what this build offers, and with which options one is used."""

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
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
COMPILED = b"EPContext"
"""The node that holds what a provider has compiled: native code in a file that else is data."""
RUN_COMPILED = ("tensorrt", "openvino", "migraphx")
MIB = 2**20

Provider = tuple[str, dict[str, str]]


def offered() -> list[Offer]:
    """What this onnxruntime can use for a model that it has built no engine for."""
    return offers(engines(Path("model.onnx")), "auto", ort.get_available_providers())


def offers(built: Path, wanted: str, available: list[str]) -> list[Offer]:
    """What an onnxruntime with the `available` providers can use for a model whose engines are in the folder `built`."""
    return list(_offers(built, wanted, available))


def _offers(built: Path, wanted: str, available: list[str]) -> Iterator[Offer]:
    cuda = version_of(str(getattr(_build(), "cuda_version", "")))
    ways = {"nvidia": f"; pip uninstall onnxruntime, then {how_to_install('onnx-gpu')}"}
    for accelerator, (provider, vendor) in PROVIDERS.items():
        missing = "" if provider in available else f"this onnxruntime offers {', '.join(available)}{ways.get(vendor, '')}"
        if accelerator == wanted == "openvino":
            vendor = ""  # it computes on Intel's processors as well, where that is asked for
        waits = accelerator == "tensorrt" and not any(built.glob("*.engine"))  # building one takes minutes
        yield Offer(accelerator, vendor, cuda if vendor == "nvidia" else None, (), missing, waits and wanted != accelerator)


def _build() -> Any:
    try:
        from onnxruntime.capi import build_and_package_info
    except ImportError:  # the CPU's package may have none
        return None
    return build_and_package_info


def engines(path: Path, built: str = "") -> Path:
    """Where TensorRT's engines for a model are.

    They are native code. Those that came with a model which nobody vouches for do not count: with `built`, the folder for
    what is built of it here, they are there.
    """
    if not built:
        return path.parent / ENGINES
    return Path(built, ENGINES, hashlib.sha256(os.fsencode(path)).hexdigest()[:16])


def refuse_compiled(accelerator: str, path: Path) -> None:
    """Raises ModelLoadError for a model with native code in it that the accelerator's provider would run."""
    if accelerator not in RUN_COMPILED or not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(COMPILED) >= 0:
            raise ModelLoadError(
                f"{path}: holds {COMPILED.decode()}, native code that {accelerator} would run; export it without, "
                "or set model.trust: true and model.digest"
            )


def providers(accelerator: str, built: Path, limit_mb: int, *, gpu: bool = True) -> list[Provider]:
    """The provider of an accelerator with its options, and what runs the nodes that it cannot."""
    cpu: Provider = (PROVIDERS[CPU][0], {})
    if accelerator == CPU:
        return [cpu]
    cuda: Provider = (PROVIDERS["cuda"][0], _memory("gpu_mem_limit", limit_mb) | {"arena_extend_strategy": "kSameAsRequested"})
    if accelerator == "cuda":
        return [cuda, cpu]
    if accelerator == "tensorrt":
        engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(built)}
        return [(PROVIDERS[accelerator][0], engine | _memory("trt_max_workspace_size", limit_mb)), cuda, cpu]
    own = _memory(LIMITS[accelerator], limit_mb) if accelerator in LIMITS else {}
    if accelerator == "openvino":
        own = {"device_type": "GPU" if gpu else "CPU"}  # the processor is its default, whatever there is
    return [(PROVIDERS[accelerator][0], own), cpu]


def _memory(option: str, limit_mb: int) -> dict[str, str]:
    return {option: str(limit_mb * MIB)} if limit_mb else {}


def prepare(accelerator: str, built: Path) -> None:
    """CUDA and cuDNN as Python packages are on no path that the loader searches; TensorRT makes only one folder itself."""
    if accelerator in ("cuda", "tensorrt") and find_spec("nvidia") is not None:
        ort.preload_dlls()
    if accelerator == "tensorrt":
        with suppress(OSError):  # a volume that is read-only: onnxruntime says so
            built.parent.mkdir(parents=True, exist_ok=True)


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
