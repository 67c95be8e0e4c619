"""The runtime tensorrt without a GPU: what it refuses, and its calls on stand-ins for TensorRT and CUDA."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.accelerators.memory import is_out_of_memory
from kfunc.handlers.tensorrt import TensorrtHandler
from kfunc.protocol.messages import TensorSpec

GPU = Facts((Gpu("nvidia", "NVIDIA L4"),))
Configured = Callable[..., Any]
VOUCHED = {"trust": True, "digest": f"sha256:{'0' * 64}"}


class Cuda:
    """Memory of the GPU that is this process's own; `free` is what is left."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self, free: int = 10**6) -> None:
        self.free = free
        self.held: dict[int, Any] = {}

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        if size > self.free:
            return 2, 0
        block = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cudaFree(self, address: int) -> tuple[int]:
        del self.held[address]
        return (0,)

    def cudaMemcpy(self, target: int, source: int, size: int, kind: int) -> tuple[int]:
        ctypes.memmove(target, source, size)
        return (0,)


class Engine:
    """Doubles rows of three numbers, 2 to 4 of them."""

    num_io_tensors = 2

    def __init__(self, kind: str = "FLOAT", size: int = 0) -> None:
        self._kind, self._size = kind, size

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [(2, 3), (3, 3), (4, 3)]

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y")[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self._kind)

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name={"x": "INPUT", "y": "OUTPUT"}[name])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3)

    def create_execution_context(self) -> "Context":
        return Context(self._size)


class Context:
    """Runs an Engine; `size`: that its output's first dimension is told to be, -1 where only the data decide."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return 2 <= shape[0] <= 4

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._size, 3) if self._size else self.shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))
        x, y = (np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses[name])) for name in "xy")
        y[:] = x * 2
        return True


class Trt:
    """TensorRT's module; `engine` is what it makes of any file."""

    __version__ = "11.4"

    class Logger:
        WARNING = 1

        def __init__(self, level: int) -> None: ...

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda content: self._engine)


@pytest.fixture
def opened(configured: Configured, tmp_path: Path) -> Callable[..., TensorrtHandler]:
    def open_it(
        found: Facts = GPU, cuda: Any = None, engine: Any = None, content: bytes = b"ftrt....", **model: Any
    ) -> TensorrtHandler:
        path = tmp_path / "m.plan"
        path.write_bytes(content)
        handler = TensorrtHandler()
        handler.config = configured(str(path), "tensorrt", accelerator="auto", **(VOUCHED | model))
        modules = {"tensorrt": Trt(engine), "cuda.bindings.runtime": cuda or Cuda()}
        handler.open(path, found, modules.__getitem__)
        return handler

    return open_it


def test_an_engine_answers_and_leaves_no_memory_behind(opened: Callable[..., TensorrtHandler]) -> None:
    cuda = Cuda()
    handler = opened(cuda=cuda, engine=Engine())
    assert (handler.inputs, handler.outputs) == ([TensorSpec("x", "FP32", [-1, 3])], [TensorSpec("y", "FP32", [-1, 3])])
    answer = handler.predict({"x": np.array([[1, 2, 3], [4, 5, 6]], np.float32)})
    assert answer["y"].tolist() == [[2, 4, 6], [8, 10, 12]]
    assert cuda.held == {}


def test_the_choice_names_the_gpu(opened: Callable[..., TensorrtHandler]) -> None:
    choice = opened(engine=Engine()).choice
    assert choice is not None
    assert (choice.accelerator, choice.device) == ("tensorrt", "NVIDIA L4")


def test_a_shape_that_the_engine_was_not_built_for_is_the_callers_fault(opened: Callable[..., TensorrtHandler]) -> None:
    with pytest.raises(InvalidRequest, match=r"input 'x': the shape \[5, 3\] is not one that the engine was built for"):
        opened(engine=Engine()).predict({"x": np.zeros((5, 3), np.float32)})


def test_full_memory_is_told_as_such_and_gives_back_what_was_taken(opened: Callable[..., TensorrtHandler]) -> None:
    cuda = Cuda()
    handler = opened(cuda=cuda, engine=Engine())
    cuda.free = 20
    with pytest.raises(RuntimeError) as caught:
        handler.predict({"x": np.zeros((4, 3), np.float32)})
    assert is_out_of_memory(caught.value)
    assert cuda.held == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"found": Facts((), {"nvidia": "no NVIDIA GPU here (there is no /dev/nvidia0)"})},
            "an engine of TensorRT runs on an NVIDIA GPU alone: no NVIDIA GPU here (there is no /dev/nvidia0); export",
        ),
        ({"content": b"other"}, "is no engine of TensorRT"),
        ({"trust": False}, "an engine is native code, which is run when it is opened; serve the ONNX model that it was built"),
        ({"digest": None}, "or set model.trust: true and model.digest"),
        ({"engine": Engine("FP8")}, "m.plan: x is FP8, which the protocols cannot carry: they have BOOL, UINT8"),
        (
            {"engine": Engine(size=-1)},
            "a first inference failed: the size of output y depends on the data, which is not served",
        ),
        ({"engine": None}, "TensorRT 11.4 cannot open it: another release or GPU made it, or it is broken"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    changes: Any, message: str, opened: Callable[..., TensorrtHandler]
) -> None:
    with pytest.raises(ModelLoadError) as caught:
        opened(**changes)
    assert message in caught.value.message
