"""The runtime for ONNX models: onnxruntime with the execution provider that `accelerator` chooses."""

import ctypes
import os
import re
from collections.abc import Container, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported: it would tell Microsoft of each start

import onnxruntime as ort

from kfunc.errors import ModelLoadError
from kfunc.handlers.contract import Choice, Handler
from kfunc.handlers.processors import no_accelerator, usable_processors
from kfunc.handlers.tensors import text_array
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.onnx_providers import Provider

DATATYPES = {
    "float": "FP32",
    "double": "FP64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "bool": "BOOL",
    "string": "BYTES",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
CPU = "cpu"
CPU_PROVIDER: "list[Provider]" = [("CPUExecutionProvider", {})]
RUN = ort.RunOptions()  # one for all calls: onnxruntime makes one for each that brings none
# Where in its sources it was, and in which function.
PLACE = re.compile(
    r"/onnxruntime_src/\S+:\d+ (?:[^ ()]+ )?[\w:~]+\([^()]*(?:\([^()]*\)[^()]*)*\)(?: const)?(?:::<lambda\([^()]*\)>)? "
)
BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class OnnxHandler(Handler):
    """One inference session; `run` may be called from several threads."""

    platform = "onnxruntime_onnx"

    def load(self, path: Path) -> None:
        """Open the session. Raises ModelLoadError with the file and the reason."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.config.model.threads or usable_processors()
        options.inter_op_num_threads = 1
        # Threads that spin for work would take the processor from the event loop beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session, self.choice = self._choose(path, options)
        try:
            self.inputs = [_spec(each) for each in self._session.get_inputs()]
            self.outputs = [_spec(each) for each in self._session.get_outputs()]
        except ValueError as error:
            raise ModelLoadError(f"{path}: {error}") from None
        self._output_names = [each.name for each in self.outputs]
        self._text_inputs = [each.name for each in self.inputs if each.datatype == "BYTES"]
        # The session under the session: the outer one checks again what InputCheck has checked, at a microsecond a call.
        self._run = getattr(self._session, "_sess", self._session).run
        if self._text_inputs or any(each.type.startswith("seq(") for each in self._session.get_outputs()):
            self.predict = self._predict_unusual  # type: ignore[method-assign]
        if any(each.datatype == "BF16" for each in (*self.inputs, *self.outputs)):
            self._bits_inputs = {each.name for each in self.inputs if each.datatype == "BF16"}
            self.predict = self._predict_bits  # type: ignore[method-assign]

    def _choose(self, path: Path, options: Any) -> tuple[Any, Choice]:
        """The session on the accelerator that is wanted, or on the best there is. Raises ModelLoadError."""
        wanted = self.config.accelerator
        if wanted == CPU or (wanted == "auto" and no_accelerator()):  # most starts: what chooses costs them some ms to import
            return _open(path, options, CPU_PROVIDER), Choice(CPU)
        from kfunc.handlers.accelerators.choice import choose
        from kfunc.handlers.accelerators.probe import facts
        from kfunc.handlers.onnx_providers import engines, offers, prepare, providers, refuse_compiled, require_started

        foreign = self.config.model.built
        built, found = engines(path, foreign), facts()

        def open_on(accelerator: str) -> Any:
            if foreign:
                refuse_compiled(accelerator, path)
            prepare(accelerator, built)
            own = providers(accelerator, built, self.config.model.gpu_memory_mb, gpu=bool(found.of("intel")))
            session = _open(path, options, own)
            require_started(accelerator, session.get_providers())
            return session

        return choose(
            wanted,
            offers(built, wanted, ort.get_available_providers()),
            found,
            open_on,
            lambda session: try_out(session, self.config.model.warmup.shapes),
            "onnxruntime",
        )

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run the session."""
        return dict(zip(self._output_names, self._run(self._output_names, inputs, RUN)))  # noqa: B905  (strict costs)

    def _predict_unusual(self, inputs: "Arrays") -> "Arrays":
        """Run a session that takes strings, or gives maps."""
        for name in self._text_inputs:
            inputs[name] = text_array(name, inputs[name])
        values = [_array(value) for value in self._run(self._output_names, inputs, RUN)]
        return dict(zip(self._output_names, values, strict=True))

    def _predict_bits(self, inputs: "Arrays") -> "Arrays":
        """Run a session with BF16, which numpy does not have: its bits go in and out as UINT16."""
        arrays = {name: text_array(name, value) if name in self._text_inputs else value for name, value in inputs.items()}
        results = self._session.run_with_ort_values(self._output_names, _values(arrays, self._bits_inputs), RUN)
        return {name: _bits_or_numpy(result) for name, result in zip(self._output_names, results, strict=True)}


def _values(arrays: "Arrays", bits: Container[str]) -> dict[str, Any]:
    """onnxruntime's own values, which can be BF16: those in `bits`."""
    return {
        name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), BFLOAT16)
        if name in bits
        else ort.OrtValue.ortvalue_from_numpy(array)
        for name, array in arrays.items()
    }


def _bits_or_numpy(value: Any) -> "np.ndarray[Any, Any]":
    if value.element_type() != BFLOAT16:
        array: np.ndarray[Any, Any] = value.numpy()
        return array
    shape = value.shape()
    bits = ctypes.string_at(value._ortvalue.data_ptr(), 2 * prod(shape))
    return np.frombuffer(bits, np.uint16).reshape(shape)


def _open(path: Path, options: Any, providers: "list[Provider]") -> Any:
    """A session with these providers. Raises ModelLoadError with the file and the reason."""
    try:
        # A session that would run on the CPU instead is a failure: what is tried next is not onnxruntime's to decide.
        return ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises a class of its own for each kind of failure
        raise ModelLoadError(f"{path}: onnxruntime cannot open it: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Its words without the places in its sources, and what to do where that is known."""
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).partition("\n")[0]
    said = PLACE.sub("", said)
    if "Protobuf parsing failed" in said:
        return f"it is cut off, or no ONNX file ({said})"
    if re.search(r"IR version: \d+, max|Opset \d+ is under development", said):
        return f"it is newer than onnxruntime {ort.__version__}: take a newer one, or export it for an older opset ({said})"
    if locale := re.search(r"Failed to construct locale with name:(.+?):", said):
        way = "install it (Debian: locales-all), also in its image, or serve the model that it was converted from"
        return f"it changes the case of texts by the locale {locale[1]}, which is not here: {way} ({said})"
    return said or type(error).__name__


def try_out(session: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    """A first inference, on zeros, of `shapes` where those say some. Raises what onnxruntime raises."""
    from kfunc.handlers.accelerators.self_test import sample

    specs = [_spec(each) for each in session.get_inputs()]
    inputs = sample(specs, shapes)
    if inputs is not None:
        bits = [each.name for each in specs if each.datatype == "BF16"]
        names = [each.name for each in session.get_outputs()]
        session.run_with_ort_values(names, _values(inputs, bits)) if bits else session.run(None, inputs)


def _spec(argument: Any) -> TensorSpec:
    """onnxruntime's description of an input or output; named dimensions are of any size. Raises ValueError."""
    kind = str(argument.type)
    element = re.findall(r"tensor\((\w+)\)", kind)[-1:]
    if not element or element[0] not in DATATYPES:
        raise ValueError(f"{argument.name} is a {kind}, which the protocols cannot carry: they have {', '.join(DATATYPES)}")
    if kind.startswith("seq("):  # rows of a map from class to probability, as skl2onnx makes by default
        return TensorSpec(argument.name, DATATYPES[element[0]], [-1, -1])
    shape = [size if isinstance(size, int) else -1 for size in argument.shape or ()]
    return TensorSpec(argument.name, DATATYPES[element[0]], shape)


def _array(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([list(row.values()) for row in value], np.float32)
    return value if isinstance(value, np.ndarray) else np.asarray(value)
