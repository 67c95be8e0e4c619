"""What a Keras file's configuration may name."""

from typing import Any

import pytest

from kfunc.handlers.keras_names import suspect

LAYER = {"module": "keras.layers", "class_name": "Dense", "registered_name": None}
INITIALIZER = {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": None}}
HARMLESS: list[Any] = [
    {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {"layers": [LAYER | {"config": INITIALIZER}]},
    },
    {"module": "keras", "class_name": "Sequential"},
    {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
    {"module": "keras.src.ops.numpy", "class_name": "GetItem"},
    {"class_name": "__keras_tensor__", "config": {"keras_history": ["input", 0, 0]}},
    {"class_name": "__tuple__", "items": []},
    {"module": "keras", "compile_config": {"loss": {"module": "builtins", "class_name": "function", "config": "own"}}},
    {"layers": [{"compile_config": {"optimizer": {"module": "keras.optimizers", "class_name": "Adam"}, "loss": "mse"}}]},
    {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"},
    {"module": "keras.optimizers.schedules", "class_name": "ExponentialDecay"},
    {"class_name": "Model", "config": {"layers": [{"class_name": "Dense"}]}},  # .h5
]


@pytest.mark.parametrize("configuration", HARMLESS)
def test_layers_of_keras_are_passed(configuration: Any) -> None:
    assert suspect(configuration) == ""


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"module": "os", "class_name": "Popen"}, "module 'os'"),
        ({"class_name": "get_file", "module": "keras.src.utils.file_utils"}, "module 'keras.src.utils.file_utils'"),
        ({"module": "keras.utils", "class_name": "Sequence"}, "module 'keras.utils'"),
        ({"module": "keras.models", "class_name": "load_model"}, "class_name 'load_model'"),
        ({"module": "keras.src.models.model", "class_name": "model_from_json"}, "class_name 'model_from_json'"),
        ({"class_name": "enable_unsafe_deserialization", "module": "keras.config"}, "module 'keras.config'"),
        ({"module": "keras_hub.layers", "class_name": "X"}, "module 'keras_hub.layers'"),
        ({"module": "kerasx.layers", "class_name": "X"}, "module 'kerasx.layers'"),
        ({"module": "keras.layers", "class_name": "Lambda"}, "class_name 'Lambda'"),
        ({"module": "keras.layers", "class_name": "keras>TFSMLayer"}, "class_name 'keras>TFSMLayer'"),
        ({"module": "keras.models", "class_name": "No", "registered_name": "load_model"}, "registered_name 'load_model'"),
        ({"module": "keras.layers", "class_name": "No", "registered_name": "Lambda"}, "registered_name 'Lambda'"),
        ({"module": "builtins", "class_name": "function"}, "class_name 'function'"),
        ({"class_name": "__lambda__"}, "class_name '__lambda__'"),
        ({"class_name": "__typespec__", "spec_name": "get_file"}, "class_name '__typespec__'"),
    ],
)
def test_what_could_run_code_is_told(named: dict[str, str], told: str) -> None:
    assert suspect({"config": {"layers": [LAYER, {"config": [named]}]}}) == told
