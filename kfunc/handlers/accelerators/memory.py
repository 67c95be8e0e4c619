"""An accelerator whose memory is full: recognising it in what frameworks raise, and letting go of what they keep.

Imports no framework.
"""

import re
import sys

# torch.OutOfMemoryError, tf.errors.ResourceExhaustedError, and what onnxruntime, OpenVINO and CUDA's libraries say.
NAMES = frozenset(("OutOfMemoryError", "ResourceExhaustedError"))
MESSAGES = re.compile(
    r"CUDA (failure 2|error): out of memory|(CUDA|HIP|XPU) out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_ALLOC_FAILED|CL_OUT_OF_RESOURCES|CL_MEM_OBJECT_ALLOCATION_FAILURE"
    r"|BFCArena::.*(Failed to allocate memory|Available memory of \d+ is smaller than requested)|MPS backend out of memory",
    re.DOTALL,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a framework says that there is no memory left for this call; the next one may find some."""
    kind = type(error)
    if any(each.__name__ in NAMES for each in kind.__mro__):
        return True
    says = isinstance(error, RuntimeError) or kind.__module__.startswith("onnxruntime")
    return says and MESSAGES.search(str(error)) is not None


def release_memory() -> None:
    """Give back what a framework that is loaded keeps for later calls."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    for name in ("cuda", "xpu", "mps"):
        backend = getattr(torch, name, None)
        # torch.mps is asked elsewhere: it says so itself only in newer releases.
        there = getattr(torch.backends if name == "mps" else torch, name, None)
        if backend is not None and there is not None and there.is_available():
            backend.empty_cache()
