"""What TensorFlow can compute on as it is installed, and its GPUs, which it would else take for itself whole."""

import logging
from typing import Any

import tensorflow as tf

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.facts import version_of
from kfunc.handlers.accelerators.selection import CPU, Offer

log = logging.getLogger("kfunc.model")
_bounds: set[int] = set()  # in MiB, of the models of this process on a GPU
DEVICES = {"cuda": "GPU", "rocm": "GPU", CPU: "CPU"}


def offers() -> list[Offer]:
    """CUDA or ROCm where this build is for it, the CPU."""
    build = tf.sysconfig.get_build_info()
    version = f"tensorflow {tf.__version__} is built without"
    cuda = version_of(str(build.get("cuda_version", "")))
    return [
        Offer("cuda", "nvidia", cuda) if build.get("is_cuda_build") else Offer("cuda", "nvidia", unavailable=f"{version} CUDA"),
        Offer("rocm", "amd") if build.get("is_rocm_build") else Offer("rocm", "amd", unavailable=f"{version} ROCm"),
        Offer(CPU),
    ]


def device_of(accelerator: str, limit_mb: int) -> str:
    """The device's name; the first GPU is started, with its bound. Raises ModelLoadError where TensorFlow finds none."""
    if accelerator == CPU:
        return "/CPU:0"
    found = tf.config.list_physical_devices(DEVICES[accelerator])
    if not found:
        raise ModelLoadError("TensorFlow finds no GPU; its lines above say which library it could not load")
    if not _bounds:
        _start(found[0], limit_mb)
    _bounds.add(limit_mb)
    if len(_bounds) > 1:
        log.warning("model.gpu_memory_mb: TensorFlow has one bound for all models of a process, that of the first one")
    return "/GPU:0"


def share_gpus(wanted: str) -> None:
    """Before TensorFlow starts: with its first operation it takes nearly all memory of each GPU that it sees.

    It does so where it computes on the CPU, too. `wanted` is func.yaml's accelerator.
    """
    try:
        if wanted == CPU:
            tf.config.set_visible_devices([], "GPU")
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except (RuntimeError, ValueError):
        pass  # another model of this process has started TensorFlow, or bound its GPU


def _start(gpu: Any, limit_mb: int) -> None:
    try:
        tf.config.set_visible_devices([gpu], gpu.device_type)  # all that are visible would have to be bound alike
        if limit_mb:
            bound = tf.config.LogicalDeviceConfiguration(memory_limit=limit_mb)
            tf.config.set_logical_device_configuration(gpu, [bound])
    except RuntimeError as error:  # a model on the CPU has started TensorFlow before
        log.warning("TensorFlow takes no bound on the GPU's memory any more: %s", error)


def use_threads(count: int) -> None:
    """Threads of one call."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:
        pass  # another model of this process has started TensorFlow
