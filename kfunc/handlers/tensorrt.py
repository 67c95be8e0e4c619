"""The runtime for TensorRT's engines (.engine, .plan): NVIDIA GPUs only, and the release that made the engine."""

import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.facts import Facts
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.selection import Offer
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.contract import Handler
from kfunc.handlers.registry import how_to_install
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

DATATYPES = {
    "BOOL": "BOOL",
    "UINT8": "UINT8",
    "INT8": "INT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "HALF": "FP16",
    "BF16": "BF16",
    "FLOAT": "FP32",
}
DTYPES = {"BOOL": np.bool_, "UINT8": np.uint8, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16}
DTYPES |= {"BF16": np.uint16, "FP32": np.float32}
HEAD = b"ftrt"
"""The first bytes of every engine since TensorRT 8."""


class TensorrtHandler(Handler):
    """One engine; calls take turns on its context."""

    platform = "tensorrt_plan"

    def load(self, path: Path) -> None:
        """Open the engine. Raises ModelLoadError with the file and the reason, first that there is no GPU for it."""
        self.open(path, facts(), lambda name: import_module(name))

    def open(self, path: Path, found: Facts, module: Any) -> None:
        """Open the engine on the GPU of `found`; `module` imports by name. Raises ModelLoadError."""
        if not found.of("nvidia"):
            why = found.absent.get("nvidia", "there is none")
            raise ModelLoadError(f"{path}: an engine of TensorRT runs on an NVIDIA GPU alone: {why}; export the model to ONNX")
        content = path.read_bytes()
        if HEAD not in content[:8]:
            raise ModelLoadError(f"{path}: is no engine of TensorRT")
        if not (self.config.model.trust and self.config.model.digest is not None):
            raise ModelLoadError(
                f"{path}: an engine is native code, which is run when it is opened; "
                "serve the ONNX model that it was built from, or set model.trust: true and model.digest"
            )
        try:
            self._trt, self._cuda = module("tensorrt"), module("cuda.bindings.runtime")
        except ImportError as error:
            raise ModelLoadError(f"{path}: {error}: {how_to_install('tensorrt')}") from None
        self._turn = threading.Lock()
        wanted = "tensorrt" if self.config.accelerator in ("auto", "cuda") else self.config.accelerator

        def open_on(accelerator: str) -> Any:
            runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.WARNING))
            engine = runtime.deserialize_cuda_engine(content)
            if engine is None:
                version = self._trt.__version__
                raise ModelLoadError(
                    f"{path}: TensorRT {version} cannot open it: another release or GPU made it, or it is broken"
                )
            self._engine, self._context = engine, engine.create_execution_context()
            self._describe(path)
            return engine

        def test(engine: Any) -> None:
            inputs = sample(self.inputs, self._usual_shapes() | self.config.model.warmup.shapes)
            if inputs is not None:
                self.predict(inputs)

        _, self.choice = choose(wanted, [Offer("tensorrt", "nvidia")], found, open_on, test, "tensorrt")

    def _describe(self, path: Path) -> None:
        specs: dict[str, list[TensorSpec]] = {"INPUT": [], "OUTPUT": []}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            kind = self._engine.get_tensor_dtype(name).name
            datatype = DATATYPES.get(kind)
            if datatype is None:
                raise ModelLoadError(
                    f"{path}: {name} is {kind}, which the protocols cannot carry: they have {', '.join(DATATYPES)}"
                )
            shape = [int(size) for size in self._engine.get_tensor_shape(name)]
            specs[self._engine.get_tensor_mode(name).name].append(TensorSpec(name, datatype, shape))
        self.inputs, self.outputs = specs["INPUT"], specs["OUTPUT"]

    def _usual_shapes(self) -> dict[str, list[int]]:
        """The shapes that the engine was optimised for, of inputs that may be of several; 1 may be below their least."""
        return {
            spec.name: [int(size) for size in self._engine.get_tensor_profile_shape(spec.name, 0)[1]]
            for spec in self.inputs
            if min(spec.shape, default=0) < 0
        }

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Copy the inputs to the GPU, run, copy the outputs back."""
        held: list[int] = []
        with self._turn:
            try:
                return self._run(inputs, held)
            finally:
                for address in held:
                    self._cuda.cudaFree(address)

    def _run(self, inputs: "Arrays", held: list[int]) -> "Arrays":
        for name, array in inputs.items():
            array = np.ascontiguousarray(array)
            if not self._context.set_input_shape(name, array.shape):
                raise InvalidRequest(f"input {name!r}: the shape {list(array.shape)} is not one that the engine was built for")
            address = self._reserve(array.nbytes, held)
            self._copy(address, array.ctypes.data, array.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
            self._context.set_tensor_address(name, address)
        outputs: Arrays = {}
        addresses = {}
        for spec in self.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            if min(shape, default=0) < 0:
                raise RuntimeError(
                    f"the size of output {spec.name} depends on the data, which is not served: build it with a bound"
                )
            outputs[spec.name] = np.empty(shape, DTYPES[spec.datatype])
            addresses[spec.name] = self._reserve(outputs[spec.name].nbytes, held)
            self._context.set_tensor_address(spec.name, addresses[spec.name])
        if not self._context.execute_async_v3(0):
            raise RuntimeError("TensorRT could not run the engine")
        for name, array in outputs.items():
            self._copy(array.ctypes.data, addresses[name], array.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)
        return outputs

    def _reserve(self, size: int, held: list[int]) -> int:
        status, address = self._cuda.cudaMalloc(max(size, 1))
        self._require(status)
        held.append(address)
        return int(address)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        (status,) = self._cuda.cudaMemcpy(target, source, size, kind)  # of the default stream: it waits for what runs there
        self._require(status)

    def _require(self, status: Any) -> None:
        if int(status) == 2:  # cudaErrorMemoryAllocation
            raise RuntimeError("CUDA error: out of memory")
        if int(status) != 0:
            raise RuntimeError(f"CUDA error: {status!r}")
