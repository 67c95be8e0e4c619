"""Opens what TensorFlow and Keras write, as signatures: functions on tensors with what they take and give."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from msgspec import Struct

from kfunc.errors import ModelLoadError
from kfunc.handlers.keras_names import suspect
from kfunc.handlers.nested_strings import TRUST
from kfunc.handlers.versions import require_safe
from kfunc.protocol.messages import TensorSpec
from kfunc.storage.zips import MOST_BYTES, open_zip

CONFIG = "config.json"
DEFAULT = "serving_default"
KERAS = "3.13.2"  # older ones open what safe_mode should refuse: CVE-2025-8747, CVE-2025-12058, CVE-2026-1462
INTERNAL = "__saved_model"  # TensorFlow's own, for initialisers
DATATYPES = {
    "bool": "BOOL",
    "string": "BYTES",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class Signature(Struct):
    """A function that takes tensors by name and gives tensors by name; `dtypes` are the inputs'."""

    call: Callable[..., Any]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    dtypes: dict[str, Any]
    model: Any
    """What must live as long as the function: it holds the variables."""


def open_saved_model(folder: Path) -> dict[str, Signature]:
    """The signatures of a SavedModel. Raises ModelLoadError."""
    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:  # OSError, ValueError, KeyError, protobuf's and TensorFlow's own
        raise _unreadable(folder, error) from None
    found = {name: _signature(function, model) for name, function in model.signatures.items() if not name.startswith(INTERNAL)}
    if not found:
        raise ModelLoadError(f"{folder}: has no signatures: save it with signatures=…, or with keras: model.export(…)")
    return found


def _signature(function: Any, model: Any) -> Signature:
    taken = function.structured_input_signature[1]
    return Signature(
        function,
        [_spec(name, spec) for name, spec in sorted(taken.items())],
        [_spec(name, spec) for name, spec in sorted(function.structured_outputs.items())],
        {name: spec.dtype for name, spec in taken.items()},
        model,
    )


def _spec(name: str, spec: Any) -> TensorSpec:
    shape = [-1] if spec.shape.rank is None else [-1 if size is None else int(size) for size in spec.shape]
    return TensorSpec(name, DATATYPES.get(spec.dtype.name, "BYTES"), shape)


def open_keras(path: Path, *, trusted: bool) -> dict[str, Signature]:
    """A Keras model as one signature. Raises ModelLoadError, before anything of its own is run unless it is trusted."""
    import keras

    if not trusted:
        require_safe(path, "keras", keras.__version__, KERAS)
        require_harmless(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=not trusted)
    except Exception as error:  # ValueError, KeyError, TypeError, zipfile's and h5py's own
        raise _unreadable(path, error) from None
    if not getattr(model, "inputs", None):  # it was never called, or its class derives from keras.Model
        raise ModelLoadError(f"{path}: the model does not tell its inputs: call it on some rows, then model.export(FOLDER)")
    taken = [tf.TensorSpec(each.shape, each.dtype, each.name) for each in model.inputs]
    names = list(getattr(model, "output_names", ())) or [f"output-{index}" for index in range(len(model.outputs))]
    function = tf.function(_call(model, names), input_signature=taken).get_concrete_function()
    outputs = [_spec(name, tf.TensorSpec(each.shape, each.dtype)) for name, each in zip(names, model.outputs, strict=True)]
    inputs = [_spec(spec.name, spec) for spec in taken]
    order = [spec.name for spec in inputs]

    def call(**tensors: Any) -> Any:
        return function(*[tensors[name] for name in order])

    return {DEFAULT: Signature(call, inputs, outputs, {spec.name: spec.dtype for spec in taken}, (model, function))}


def _call(model: Any, names: list[str]) -> Callable[..., Any]:
    single = len(model.inputs) == 1

    def call(*tensors: Any) -> Any:
        given = model(tensors[0] if single else list(tensors), training=False)
        if isinstance(given, dict):
            return given
        return dict(zip(names, given if isinstance(given, (list, tuple)) else [given], strict=True))

    return call


def require_harmless(path: Path) -> None:
    """Keras makes the objects that a file names: only its own layers, and none that bring code. Raises ModelLoadError."""
    if found := suspect(_configuration(path)):
        raise ModelLoadError(f"{path}: opening it could run code: it holds {found}; {TRUST}")


def _configuration(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".h5":
            import h5py

            with h5py.File(path, "r") as file:
                return json.loads(file.attrs["model_config"])
        with open_zip(path) as archive:
            if (size := archive.getinfo(CONFIG).file_size) > MOST_BYTES:
                raise ModelLoadError(f"{path}: its {CONFIG} has {size} bytes, at most {MOST_BYTES} are read")
            return json.loads(archive.read(CONFIG))
    except ModelLoadError:
        raise
    except Exception as error:  # of many kinds
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ModelLoadError:
    lines = str(error).strip().splitlines()
    return ModelLoadError(f"{path}: TensorFlow cannot open it: {lines[0] if lines else type(error).__name__}")
