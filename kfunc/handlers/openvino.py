"""The runtime for OpenVINO's IR (.xml with its .bin): Intel's processors and GPUs."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.selection import CPU, Offer
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.contract import Handler
from kfunc.handlers.processors import usable_processors
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

DATATYPES = {
    "boolean": "BOOL",
    "string": "BYTES",
    "f16": "FP16",
    "bf16": "BF16",
    "f32": "FP32",
    "f64": "FP64",
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("i", "INT"), ("u", "UINT")) for bits in (8, 16, 32, 64)},
}
DEVICES = {"xpu": "GPU", CPU: "CPU"}


class OpenvinoHandler(Handler):
    """One compiled model; each thread has an infer request of its own."""

    platform = "openvino"

    def load(self, path: Path) -> None:
        """Read and compile the model on the best device. Raises ModelLoadError with the file and the reason."""
        core = ov.Core()
        try:
            model = core.read_model(str(path))
        except Exception as error:  # RuntimeError with the place in OpenVINO's source first
            raise ModelLoadError(f"{path}: OpenVINO cannot open it: {_reason(error)}") from None
        self.inputs = [_spec(each, index, "input") for index, each in enumerate(model.inputs)]
        self.outputs = [_spec(each, index, "output") for index, each in enumerate(model.outputs)]
        self._bits = {spec.name for spec in self.inputs if spec.datatype == "BF16"}
        settings = {"PERFORMANCE_HINT": "LATENCY", "EXECUTION_MODE_HINT": "ACCURACY"}  # else BF16 where the processor has it
        threads = str(self.config.model.threads or usable_processors())

        def open_on(accelerator: str) -> Any:
            own = {"INFERENCE_NUM_THREADS": threads} if accelerator == CPU else {}
            return core.compile_model(model, DEVICES[accelerator], settings | own)

        def test(compiled: Any) -> None:
            inputs = sample(self.inputs, self.config.model.warmup.shapes)
            if inputs is not None:
                self._answer(compiled.create_infer_request(), inputs)

        wanted = "auto" if self.config.accelerator == "openvino" else self.config.accelerator
        self._requests = threading.local()
        self._compiled, self.choice = choose(
            wanted, offers(core.available_devices), facts(), open_on, test, f"openvino {ov.__version__}"
        )

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run the model; inputs are used where they lie."""
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        return self._answer(request, inputs)

    def _answer(self, request: Any, inputs: "Arrays") -> "Arrays":
        given = [ov.Tensor(inputs[spec.name], each.shape, ov.Type.bf16) if spec.name in self._bits else inputs[spec.name]
                 for spec, each in zip(self.inputs, (inputs[spec.name] for spec in self.inputs), strict=True)]  # fmt: skip
        results = request.infer(given, share_inputs=True).to_tuple()
        return {spec.name: _array(result, spec.datatype) for spec, result in zip(self.outputs, results, strict=True)}


def offered() -> list[Offer]:
    """What OpenVINO finds here."""
    return offers(ov.Core().available_devices)


def offers(devices: list[str]) -> list[Offer]:
    """Intel's GPU where OpenVINO finds one, the CPU."""
    found = any(device.startswith("GPU") for device in devices)
    return [Offer("xpu", "intel", unavailable="" if found else f"OpenVINO finds only {', '.join(devices)}"), Offer(CPU)]


def _spec(port: Any, index: int, kind: str) -> TensorSpec:
    """A port; one without a name of its own is numbered."""
    name = next(iter(sorted(port.get_names())), f"{kind}-{index}")
    shape = port.get_partial_shape()
    sizes = [-1] if shape.rank.is_dynamic else [-1 if size.is_dynamic else size.get_length() for size in shape]
    return TensorSpec(name, DATATYPES.get(port.get_element_type().get_type_name(), "BYTES"), sizes)


def _array(result: Any, datatype: str) -> "np.ndarray[Any, Any]":
    array = np.asarray(result)
    return array.view(np.uint16) if datatype == "BF16" and array.dtype.itemsize == 2 else array


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(("Exception from", "Check '"))]
    return lines[-1].strip() if lines else str(error).strip().splitlines()[-1]
