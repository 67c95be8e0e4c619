"""The runtime for PyTorch: TorchScript, exported programs (.pt2), and weights with the class in handler.py."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.contract import Handler
from kfunc.handlers.declared import declared
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.tensors import DATATYPE_OF
from kfunc.handlers.torch_archive import kind_of
from kfunc.handlers.torch_arrays import named, to_array, to_tensor
from kfunc.handlers.torch_devices import device_of, offers, use_threads
from kfunc.handlers.torch_files import Opened, open_program, open_script, open_weights
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

PLATFORMS = {"script": "pytorch_torchscript", "program": "pytorch_export", "weights": "pytorch"}


class TorchHandler(Handler):
    """One module on one device; may be called from several threads."""

    platform = "pytorch"

    def load(self, path: Path) -> None:
        """Open the model on the best device. Raises ModelLoadError with the file and the reason."""
        # Binary inputs are read in place: numpy says that they are not to be written, and PyTorch warns of it at each.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)  # files in this format are to be served all the same
        use_threads(self.config.model.threads or usable_processors())
        kind = kind_of(path)
        self.platform = PLATFORMS[kind]
        opened = self._open(kind, path)
        self.inputs, self.outputs = declared(self.config, opened.inputs, opened.outputs)
        self._names = [spec.name for spec in self.inputs] or opened.names
        for step in ("preprocess", "postprocess"):
            if hasattr(opened.user, step):
                setattr(self, step, getattr(opened.user, step))
        self._place(opened)
        if not self.outputs:
            self.outputs = self._observed(opened)
        self._output_names = [spec.name for spec in self.outputs]

    def _open(self, kind: str, path: Path) -> Opened:
        trusted = self.config.model.trust and self.config.model.digest is not None
        if kind == "script":
            return open_script(path)
        return (open_program if kind == "program" else open_weights)(path, trusted=trusted)

    def _place(self, opened: Opened) -> None:
        """Bring the module to the best device where it answers."""
        self._output_names = [spec.name for spec in self.outputs]
        self._bits = {spec.name for spec in (*self.inputs, *self.outputs) if spec.datatype == "BF16"}
        self._floats = None if self.inputs else _floating(opened.call)

        def open_on(accelerator: str) -> None:
            self._device = device_of(accelerator, self.config.model.gpu_memory_mb)
            self.native = self._call = opened.move(self._device)  # back to the CPU too, where a GPU has failed

        def test(opened_there: None) -> None:
            inputs = sample(self.inputs, opened.shapes)
            if inputs is not None:
                self.predict(inputs)

        _, self.choice = choose(self.config.accelerator, offers(), facts(), open_on, test, f"torch {torch.__version__}")

    def _observed(self, opened: Opened) -> list[TensorSpec]:
        """The outputs that an inference on zeros gives; none where the model's inputs are not known well enough."""
        inputs = sample(self.inputs, opened.shapes, 2)
        try:
            found = self.predict(inputs) if inputs is not None else {}
        except Exception:  # the model takes other sizes
            return []
        rows = {array.shape[0] for array in (inputs or {}).values() if array.ndim}
        by_row = all(spec.shape and spec.shape[0] < 0 for spec in self.inputs)
        return [
            TensorSpec(name, DATATYPE_OF.get(array.dtype, "BYTES"), _any_rows(list(array.shape), rows if by_row else set()))
            for name, array in found.items()
        ]

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run the module."""
        bits, device = self._bits, self._device
        given = {name: to_tensor(array, device, bits=name in bits) for name, array in inputs.items()}
        if self._floats is not None:
            given = {name: each.to(self._floats) if each.is_floating_point() else each for name, each in given.items()}
        arguments = [given[name] for name in self._names] if given.keys() == set(self._names) else list(given.values())
        with torch.inference_mode():
            result = self._call(*arguments)
        return {name: to_array(value, bits=name in bits) for name, value in named(result, self._output_names).items()}


def _floating(module: Any) -> torch.dtype | None:
    """The type of a module's numbers, for inputs of which nothing says it: V1 and JSON have only one kind."""
    return next((each.dtype for each in module.parameters() if each.is_floating_point()), None)


def _any_rows(shape: list[int], rows: set[int]) -> list[int]:
    return [-1, *shape[1:]] if shape and rows == {shape[0]} else shape
