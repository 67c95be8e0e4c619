"""The runtime for TensorFlow: SavedModel with its signatures, Keras 3's .keras and .h5."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when it is imported; its notes are no errors of ours

import tensorflow as tf

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.contract import Handler
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.tensorflow_devices import device_of, offers, share_gpus, use_threads
from kfunc.handlers.tensorflow_files import DEFAULT, Signature, open_keras, open_saved_model

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays


class TensorflowHandler(Handler):
    """One signature of a model; may be called from several threads. The default one has the others in `signatures`."""

    platform = "tensorflow_savedmodel"

    def load(self, path: Path) -> None:
        """Open the model on the best device. Raises ModelLoadError with the file and the reason."""
        use_threads(self.config.model.threads or usable_processors())
        share_gpus(self.config.accelerator)
        limit_mb = self.config.model.gpu_memory_mb

        def open_on(accelerator: str) -> dict[str, Handler]:
            device = device_of(accelerator, limit_mb)
            with tf.device(device):
                return {name: _OneSignature(self, signature, device) for name, signature in self._open(path).items()}

        name = f"tensorflow {tf.__version__}"
        self.signatures, self.choice = choose(self.config.accelerator, offers(), facts(), open_on, self._try_out, name)
        for each in self.signatures.values():
            each.signatures = self.signatures
        names = list(self.signatures)
        if DEFAULT not in names and len(names) > 1:
            raise ModelLoadError(f"{path}: has no signature {DEFAULT}, which is the default one; it has {', '.join(names)}")
        default = self.signatures[DEFAULT if DEFAULT in names else names[0]]
        self.inputs, self.outputs = default.inputs, default.outputs
        self.predict, self.native = default.predict, default.native  # type: ignore[method-assign]

    def _open(self, path: Path) -> dict[str, Signature]:
        if path.is_dir():
            return open_saved_model(path)
        self.platform = "keras"
        trusted = self.config.model.trust and self.config.model.digest is not None
        return open_keras(path, trusted=trusted)

    def _try_out(self, found: dict[str, Handler]) -> None:
        for each in found.values():
            inputs = sample(each.inputs, self.config.model.warmup.shapes)
            if inputs is not None:
                each.predict(inputs)


class _OneSignature(Handler):
    """A Handler for one signature."""

    def __init__(self, whole: TensorflowHandler, signature: Signature, device: str) -> None:
        self.config = whole.config
        self.platform = whole.platform
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._signature, self.native = signature, signature.call
        self._device = device

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run the function."""
        dtypes = self._signature.dtypes
        with tf.device(self._device):
            given = {name: _tensor(array, dtypes[name]) for name, array in inputs.items()}
            return {name: value.numpy() for name, value in self._signature.call(**given).items()}


def _tensor(array: Any, dtype: Any) -> Any:
    if dtype == tf.bfloat16:
        array = array.view(dtype.as_numpy_dtype)  # numpy has its bits as UINT16
    return tf.convert_to_tensor(array, dtype)
