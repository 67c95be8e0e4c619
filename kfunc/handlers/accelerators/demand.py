"""Whether a runtime that computes on the processor only, or by its user's code, may be asked for an accelerator."""

import logging

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.facts import Facts, Vendor
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.registry import RUNTIMES

log = logging.getLogger("kfunc.model")

PROCESSOR_ONLY = tuple(name for name, entry in RUNTIMES.items() if entry.processor_only)
OWN_CODE = ("python", "mlflow")
VENDORS: dict[str, Vendor] = {
    "cuda": "nvidia", "tensorrt": "nvidia", "rocm": "amd", "migraphx": "amd", "xpu": "intel", "mps": "apple", "coreml": "apple",
}  # fmt: skip


def require_usable(accelerator: str, runtime: str, there: Facts | None = None) -> None:
    """Raises ModelLoadError where the runtime does not use it; says so where the model's own code decides."""
    if runtime in OWN_CODE:
        log.warning("accelerator %s: what the model runs on is left to its own code (runtime %s)", accelerator, runtime)
    if runtime not in PROCESSOR_ONLY:
        return
    known = there or facts()
    vendor = VENDORS.get(accelerator)
    absent = known.absent.get(vendor, "") if vendor is not None and not known.of(vendor) else ""
    reasons = [*filter(None, [absent]), f"the runtime {runtime} computes on the processor only"]
    raise ModelLoadError(f"accelerator {accelerator} is not available: {'; '.join(reasons)}: set accelerator: auto, or cpu")
