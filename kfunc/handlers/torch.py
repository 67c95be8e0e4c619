"""The runtime for PyTorch: TorchScript, exported programs (.pt2), and weights with the class in handler.py."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from msgspec import Struct

from kfunc.errors import InvalidRequest
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.contract import Handler
from kfunc.handlers.declared import declared, observed
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.torch_archive import kind_of
from kfunc.handlers.torch_arrays import named, to_array, to_tensor
from kfunc.handlers.torch_devices import device_of, offers, use_threads
from kfunc.handlers.torch_files import Opened, open_program, open_script, open_weights

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

PLATFORMS = {"script": "pytorch_torchscript", "program": "pytorch_export", "weights": "pytorch"}


class Placed(Struct, frozen=True):
    """A module where it was brought to. There is one of it: bringing it elsewhere ends what was placed before."""

    call: Any
    device: torch.device


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
            self.outputs = observed(self.inputs, opened.shapes | self.config.model.warmup.shapes, self.predict)
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

        def open_on(accelerator: str) -> Placed:
            device = device_of(accelerator, self.config.model.gpu_memory_mb)
            return Placed(opened.move(device), device)

        def test(placed: Placed) -> None:
            inputs = sample(self.inputs, opened.shapes | self.config.model.warmup.shapes)
            if inputs is not None:
                self._answer(placed.call, self.arguments(inputs, placed.device))

        name = f"torch {torch.__version__}"
        placed, self.choice = choose(self.config.accelerator, offers(), facts(), open_on, test, name)
        self.native, self._call, self._device = placed.call, placed.call, placed.device

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run the module."""
        return self._answer(self._call, self.arguments(inputs, self._device))

    def arguments(self, inputs: "Arrays", device: torch.device | None = None) -> dict[str, torch.Tensor]:
        """Tensors for the module in its order, on its device. Raises InvalidRequest for inputs that it does not take."""
        bits, device = self._bits, device or self._device
        try:
            given = {name: to_tensor(inputs[name], device, bits=name in bits) for name in self._ordered(inputs)}
        except TypeError:
            raise InvalidRequest("this model takes numbers: PyTorch has no tensors of strings") from None
        if self._floats is not None:
            return {name: each.to(self._floats) if each.is_floating_point() else each for name, each in given.items()}
        return given

    def _ordered(self, inputs: "Arrays") -> Iterable[str]:
        """The inputs' names as the module takes them: by its own names, or by position where none is one of them."""
        names = self._names
        if inputs.keys() == set(names):
            return names
        first = names[: len(inputs)]  # what stands behind them has defaults
        if inputs.keys() == set(first):
            return first
        if inputs.keys() & set(names):
            raise InvalidRequest(f"the model's inputs are {', '.join(names)}, in this order; given are {', '.join(inputs)}")
        return inputs

    def _answer(self, call: Any, arguments: dict[str, torch.Tensor]) -> "Arrays":
        bits = self._bits
        with torch.inference_mode():
            result = call(*arguments.values())
        return {name: to_array(value, bits=name in bits) for name, value in named(result, self._output_names).items()}


def _floating(module: Any) -> torch.dtype | None:
    """The type of a module's numbers, for inputs of which nothing says it: V1 and JSON have only one kind."""
    return next((each.dtype for each in module.parameters() if each.is_floating_point()), None)
