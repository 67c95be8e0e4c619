"""What a Keras file's configuration may name. Keras imports modules by it, and makes or calls what it finds there. Pure."""

import re
from typing import Any

from kfunc.handlers.nested_strings import nested_strings

ROOMS = (
    "activations|constraints|distribution|dtype_policies|initializers|layers|losses|metrics|models|ops|optimizers|quantizers"
    "|random|regularizers"
)
MODULE = re.compile(rf"builtins|keras(\.src)?(\.({ROOMS})(\.\w+)*)?")
CLASS = re.compile(r"(\w+>)?(?P<name>_?[A-Z]\w*)")
"""Not a function's: those are called with what the file says, keras.models.load_model too."""
NAMES = ("class_name", "registered_name")  # where the module has no such class, Keras looks there for the second
VALUES = frozenset(
    f"__{kind}__" for kind in ("bytes", "complex", "ellipsis", "keras_tensor", "numpy", "slice", "tensor", "tuple")
)
BRING_CODE = frozenset(("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"))


def suspect(configuration: Any) -> str:
    """What in a configuration could run code; empty where it names only layers of Keras' own, and what they are made of."""
    if isinstance(configuration, dict):  # how it was trained: with compile=False nobody reads that of the model itself
        configuration = {key: value for key, value in configuration.items() if key != "compile_config"}
    for key, value in nested_strings(configuration):
        if key == "module" and not MODULE.fullmatch(value):
            return f"module {value!r}"
        if key in NAMES and value not in VALUES:
            named = CLASS.fullmatch(value)
            if named is None or named["name"] in BRING_CODE:
                return f"{key} {value!r}"
    return ""
