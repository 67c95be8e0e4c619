"""Looks which accelerators this machine has: device files, the driver's library, the environment. Imports no framework."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from kfunc.handlers.accelerators import nvml
from kfunc.handlers.accelerators.facts import Facts, Gpu, Vendor
from kfunc.handlers.accelerators.visibility import count_of, visible

INTEL = "0x8086"  # PCI vendor
COMPAT = "usr/local/cuda/compat/libcuda.so.1"


@lru_cache(1)
def facts() -> Facts:
    """What this machine has; looked at once."""
    return probe(os.environ)


def probe(
    environ: Mapping[str, str],
    root: Path = Path("/"),
    load_nvml: Callable[[], Any] = lambda: import_module("pynvml"),
    machine: tuple[str, str] = (sys.platform, os.uname().machine),
) -> Facts:
    """What the machine under `root` has; `machine` is its system and processor."""
    absent: dict[Vendor, str] = {}
    gpus: tuple[Gpu, ...] = ()
    driver, cuda = "", None
    files = sorted((root / "dev").glob("nvidia[0-9]*")) or list((root / "dev").glob("dxg"))  # dxg: Linux under Windows
    if not files:
        absent["nvidia"] = "no NVIDIA GPU here (there is no /dev/nvidia0)"
    else:
        try:
            all_gpus, driver, cuda = nvml.read(load_nvml())
            gpus, why = visible(all_gpus, environ.get("CUDA_VISIBLE_DEVICES"))
            if not gpus:
                absent["nvidia"] = why
        except ImportError:
            absent["nvidia"] = f"there is /dev/{files[0].name}, and nothing to ask its driver with: pip install nvidia-ml-py"
        except nvml.NoNvml as error:
            absent["nvidia"] = f"there is /dev/{files[0].name}, but {error.message}"
    for vendor, found, why in (_amd(root, environ), _intel(root), _apple(machine)):
        gpus += found
        if not found:
            absent[vendor] = why
    return Facts(gpus, absent, driver, cuda, (root / COMPAT).exists())


def _amd(root: Path, environ: Mapping[str, str]) -> tuple[Vendor, tuple[Gpu, ...], str]:
    if not (root / "dev/kfd").exists():
        return "amd", (), "no AMD GPU here (there is no /dev/kfd)"
    nodes = sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties"))
    found = [properties for properties in map(_properties, nodes) if properties.get("simd_count", "0") != "0"]
    if not found:
        return "amd", (), "there is /dev/kfd, but its driver knows no GPU"
    for variable in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        if not environ.get(variable, "0").strip():
            return "amd", (), f"{variable} is empty and hides {count_of(found)}"
    return "amd", tuple(Gpu("amd", f"gfx {each.get('gfx_target_version', '?')}") for each in found), ""


def _properties(file: Path) -> dict[str, str]:
    pairs = (line.split(None, 1) for line in file.read_text(errors="replace").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _intel(root: Path) -> tuple[Vendor, tuple[Gpu, ...], str]:
    nodes = sorted((root / "dev/dri").glob("renderD*"))
    found = [node for node in nodes if _text(root / f"sys/class/drm/{node.name}/device/vendor") == INTEL]
    return "intel", tuple(Gpu("intel", f"/dev/dri/{node.name}") for node in found), "no Intel GPU here (no /dev/dri/renderD*)"


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _apple(machine: tuple[str, str]) -> tuple[Vendor, tuple[Gpu, ...], str]:
    if machine == ("darwin", "arm64"):
        return "apple", (Gpu("apple", "Apple GPU"),), ""
    return "apple", (), "this is no Mac with Apple's processor"
