"""Which of a machine's NVIDIA GPUs a process may use by CUDA_VISIBLE_DEVICES. Pure.

CUDA C++ Programming Guide, "CUDA Environment Variables": indices, UUIDs or their beginnings; the list ends at the first entry
that names no device, and a device that is named twice leaves none.
"""

from collections.abc import Sequence

from kfunc.handlers.accelerators.facts import Gpu

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible(gpus: Sequence[Gpu], value: str | None) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs of `gpus` (in the driver's order) that are left, and why there is none; `value` is the variable's."""
    if value is None:
        return _usable(gpus), "" if gpus else "the driver knows no GPU"
    chosen: list[Gpu] = []
    for entry in value.split(","):
        gpu = _named(gpus, entry.strip())
        if gpu is None:
            break
        chosen.append(gpu)
    told = f"{VARIABLE}={value}"
    if len({gpu.uuid or gpu.name for gpu in chosen}) < len(chosen):
        return (), f"{told} names a device twice, and then CUDA uses none"
    if not chosen:
        return (
            (),
            f"{told} names none of {count_of(gpus)}" if value.strip() else f"{VARIABLE} is empty and hides {count_of(gpus)}",
        )
    return _usable(chosen), ""


def _named(gpus: Sequence[Gpu], entry: str) -> Gpu | None:
    whole = [gpu for gpu in gpus if not gpu.parent]
    if entry.isascii() and entry.isdigit():
        return whole[int(entry)] if int(entry) < len(whole) else None
    if entry.startswith("MIG-GPU-"):  # drivers before 470: MIG-<the GPU's UUID>/<instance>/<compute instance>
        parent = entry.removeprefix("MIG-").partition("/")[0]
        return next((gpu for gpu in gpus if gpu.parent == parent), None)
    if len(entry) > len("GPU-") and entry.startswith(("GPU-", "MIG-")):
        found = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
        return found[0] if len(found) == 1 else None
    return None


def _usable(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """A partitioned GPU computes by its instances, and a process sees one of them."""
    parents = {gpu.parent for gpu in gpus if gpu.parent}
    whole = tuple(gpu for gpu in gpus if not gpu.parent and gpu.uuid not in parents)
    instances = tuple(gpu for gpu in gpus if gpu.parent)
    return whole or instances[:1]


def count_of(gpus: Sequence[object]) -> str:
    """As 2 GPUs."""
    return f"{len(gpus)} GPU{'s' if len(gpus) != 1 else ''}"
