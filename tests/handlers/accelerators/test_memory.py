"""What frameworks raise when an accelerator's memory is full."""

import pytest

from kfunc.handlers.accelerators.memory import is_out_of_memory


class OutOfMemoryError(RuntimeError):
    """torch's."""


class ResourceExhaustedError(Exception):
    """TensorFlow's."""


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        ResourceExhaustedError("OOM when allocating tensor with shape[1,2]"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=x"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError(
            "bfc_arena.cc:376 onnxruntime::BFCArena::AllocateRawInternal\nFailed to allocate memory for requested buffer"
        ),
        RuntimeError(  # onnxruntime 1.31.1, its arena at the bound
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'' Status Message: "
            "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal("
            "size_t, bool, onnxruntime::Stream*) Available memory of 1048576 is smaller than requested bytes of 4194304\n"
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.05 GB)"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_it_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("CUDA out of memory"), KeyError("x")])
def test_other_faults_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)
