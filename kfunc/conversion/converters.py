"""From a loaded handler to an ONNX model, one function for each runtime; the libraries are imported by the one that runs."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kfunc.errors import StartupError
from kfunc.handlers.contract import Handler

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Converter = Callable[[Handler, Arrays, int], Any]

INPUT = "input"
EXPORTED = "pytorch_export"
OLDEST_OF_PROGRAMS = 18
NEWEST_OF_TOOLS = 15  # the opset that onnxmltools knows; trees need no newer one
PACKAGES = {
    "sklearn": ("onnx", "skl2onnx"),
    "xgboost": ("onnx", "onnxmltools"),
    "lightgbm": ("onnx", "onnxmltools"),
    "torch": ("onnx", "onnxscript"),
    "tensorflow": ("onnx", "tf2onnx"),
}


def _of_sklearn(handler: Handler, sample: "Arrays", opset: int) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    native = handler.native
    tables = {"FP64": FloatTensorType, "INT64": Int64TensorType, "BYTES": StringTensorType}
    if len(handler.inputs) == 1 and handler.inputs[0].datatype == "FP64" and not handler.columns:
        types = [(INPUT, FloatTensorType([None, native.n_features_in_]))]
    elif handler.columns and not hasattr(_first(native), "transformers_"):
        types = [(INPUT, FloatTensorType([None, len(handler.columns)]))]
    else:
        names = handler.columns or [spec.name for spec in handler.inputs]
        kinds = {spec.name: spec.datatype for spec in handler.inputs}
        types = [(name, tables.get(kinds.get(name, "FP64"), DoubleTensorType)([None, 1])) for name in names]
    options = {id(native): {"zipmap": False}} if hasattr(native, "predict_proba") else None
    return to_onnx(native, initial_types=types, options=options, target_opset=opset)


def _first(native: Any) -> Any:
    from kfunc.handlers.sklearn_inputs import first_step

    return first_step(native)


def _of_xgboost(handler: Handler, sample: "Arrays", opset: int) -> Any:
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    last: int = handler.trees[1]  # type: ignore[attr-defined]
    booster = handler.native[:last] if last else handler.native.copy()  # the converter takes all rounds
    booster.feature_names = None  # the converter knows f0, f1 … only
    types = [(INPUT, FloatTensorType([None, booster.num_features()]))]
    return onnxmltools.convert_xgboost(booster, initial_types=types, target_opset=min(opset, NEWEST_OF_TOOLS))


def _of_lightgbm(handler: Handler, sample: "Arrays", opset: int) -> Any:
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    if handler.inputs[0].name != INPUT:
        raise StartupError(
            "LightGBM's categories of pandas have no form in ONNX: train with their numbers, or serve it as it is"
        )
    types = [(INPUT, FloatTensorType([None, handler.native.num_feature()]))]
    return onnxmltools.convert_lightgbm(
        handler.native, initial_types=types, target_opset=min(opset, NEWEST_OF_TOOLS), zipmap=False
    )


def _of_torch(handler: Handler, sample: "Arrays", opset: int) -> Any:
    import onnx
    import torch

    arguments = handler.arguments(sample)  # type: ignore[attr-defined]  # of the runtime torch: in the module's order
    names, tensors = list(arguments), tuple(each.clone() for each in arguments.values())
    outputs = [spec.name for spec in handler.outputs] or None
    batch = {name: {0: "batch"} for name in [*names, *(outputs or ())]}
    content = io.BytesIO()
    if handler.platform == EXPORTED:
        open_batch = tuple({0: torch.export.Dim.DYNAMIC} for _ in tensors)
        program = torch.onnx.export(
            handler.native, tensors, input_names=names, output_names=outputs, dynamic_shapes=open_batch,
            opset_version=max(opset, OLDEST_OF_PROGRAMS), dynamo=True, verbose=False,
        )  # fmt: skip
        return program.model_proto
    torch.onnx.export(
        handler.native.eval(), tensors, content, input_names=names, output_names=outputs, dynamic_axes=batch,
        opset_version=opset, dynamo=False,
    )  # fmt: skip
    return onnx.load_from_string(content.getvalue())


def _of_tensorflow(handler: Handler, sample: "Arrays", opset: int) -> Any:
    import tensorflow as tf
    import tf2onnx

    call, names = handler.native, list(sample)
    specs = [tf.TensorSpec([None, *array.shape[1:]], tf.as_dtype(array.dtype), name=name) for name, array in sample.items()]
    function = tf.function(lambda *given: call(**dict(zip(names, given, strict=True))), input_signature=specs)
    model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=opset)
    return model


CONVERTERS: "dict[str, Converter]" = {
    "sklearn": _of_sklearn,
    "xgboost": _of_xgboost,
    "lightgbm": _of_lightgbm,
    "torch": _of_torch,
    "tensorflow": _of_tensorflow,
}
WAYS = {
    "catboost": 'CatBoost writes ONNX itself: model.save_model("model.onnx", format="onnx")',
    "onnx": "the model is ONNX already; --precision makes another of it",
    "mlflow": "convert the flavour's own model, whose file is in the folder",
    "pmml": "there is no way from PMML to ONNX: convert what it was made from",
}
