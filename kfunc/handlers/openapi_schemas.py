"""JSON Schemas and examples of one model's requests and answers, for the OpenAPI document. Pure.

Names, datatypes and shapes stand in them as the model has them, so that a request made from one is one it takes.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from kfunc.protocol.datatypes import DATATYPES
from kfunc.protocol.messages import ModelMetadata, TensorSpec

Schema = dict[str, Any]

MAX_EXAMPLE = 1024  # elements: a larger example would bury what it shows
BINARY_ONLY = ("FP16", "BF16")
LARGEST_FP32 = 3.4028235e38  # as JSON writes it
SAMPLES: dict[str, Any] = {"BOOL": True, "BYTES": "text", "FP32": 0.5, "FP64": 0.5}

STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "array", "items": STRING}
SIZES: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
PARAMETERS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
BASE64: Schema = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
}


def obj(**properties: Schema) -> Schema:
    """An object that has all of these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def one_of(names: Sequence[str]) -> Schema:
    """One of these strings; any, where there are none."""
    return {"enum": list(names)} if names else STRING


def element(datatype: str) -> Schema:
    """One element of a tensor in JSON (Open Inference Protocol, Tensor Data)."""
    if datatype == "BOOL":
        return {"type": "boolean"}
    if datatype == "BYTES":
        return STRING
    if datatype in ("FP32", *BINARY_ONLY):
        return {"type": "number", "minimum": -LARGEST_FP32, "maximum": LARGEST_FP32}
    if datatype == "FP64":
        return {"type": "number"}
    bits = DATATYPES[datatype] * 8
    low, high = (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return {"type": "integer", "minimum": low, "maximum": high}


# ---- V2


def v2_request(model: ModelMetadata) -> Schema:
    """Inference Request JSON Object of one model, tensors in JSON."""
    inputs: Schema = {"type": "array", "minItems": 1, "items": _any_tensor()}
    if model.inputs:
        count = len(model.inputs)
        tensors = [v2_input(spec) for spec in model.inputs]
        inputs = {"type": "array", "minItems": count, "maxItems": count, "items": _alternatives(tensors)}
    output = {
        "type": "object",
        "properties": {"name": one_of([each.name for each in model.outputs]), "parameters": PARAMETERS},
        "required": ["name"],
    }
    members = {"id": STRING, "parameters": PARAMETERS, "inputs": inputs, "outputs": {"type": "array", "items": output}}
    return {"type": "object", "properties": members, "required": ["inputs"]}


def v2_response(model: ModelMetadata) -> Schema:
    """Inference Response JSON Object of one model; what is not a number in a tensor of floats is null."""
    tensors = [_output(spec) for spec in model.outputs]
    schema = obj(model_name={"const": model.name}, outputs={"type": "array", "items": _alternatives(tensors)})
    schema["properties"] |= {"model_version": one_of(model.versions), "id": STRING, "parameters": PARAMETERS}
    return schema


def v2_input(spec: TensorSpec) -> Schema:
    """One input, its data flat and row-major or nested as its shape."""
    flat = {"type": "array", "items": element(spec.datatype)}
    data = {"anyOf": [flat, {"type": "array", "items": {"type": "array"}}]} if len(spec.shape) > 1 else flat
    tensor = obj(name={"const": spec.name}, datatype={"const": spec.datatype}, shape=_shape(spec), data=data)
    tensor["properties"]["parameters"] = PARAMETERS
    if spec.datatype in BINARY_ONLY:  # its data follow the JSON document
        del tensor["properties"]["data"]
        size = {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}}
        tensor["properties"]["parameters"] = {**size, "required": ["binary_data_size"]}
        tensor["required"] = ["name", "datatype", "shape", "parameters"]
    return tensor


def _output(spec: TensorSpec) -> Schema:
    item = element(spec.datatype)
    if item["type"] == "number":
        item = {"type": ["number", "null"]}
    tensor = obj(name={"const": spec.name}, datatype={"const": spec.datatype}, shape=_shape(spec))
    tensor["properties"] |= {"parameters": PARAMETERS, "data": {"type": "array", "items": item}}
    return tensor


def _any_tensor() -> Schema:
    tensor = obj(name=STRING, datatype={"enum": list(DATATYPES)}, shape=SIZES, data={"type": "array"})
    tensor["properties"]["parameters"] = PARAMETERS
    return tensor


def _alternatives(schemas: list[Schema]) -> Schema:
    if len(schemas) < 2:
        return schemas[0] if schemas else {}
    return {"anyOf": schemas}


def _shape(spec: TensorSpec) -> Schema:
    sizes: list[Schema] = [{"type": "integer", "minimum": 0} if size < 0 else {"const": size} for size in spec.shape]
    rank = len(sizes)
    return {"type": "array", **({"prefixItems": sizes} if rank else {}), "minItems": rank, "maxItems": rank}


# ---- V1


def v1_request(model: ModelMetadata) -> Schema:
    """Rows as `instances`, or columns as `inputs` (TensorFlow Serving's REST API, Predict API, Request format)."""
    rows: Schema = {"type": "array", "minItems": 1}
    columns: Schema = {}
    if model.inputs:
        each_row = {spec.name: _nested(spec, 1) for spec in model.inputs}
        whole = {spec.name: _nested(spec, 0) for spec in model.inputs}
        single = len(model.inputs) == 1
        rows["items"] = _alternatives([*(each_row.values() if single else ()), obj(**each_row)])
        columns = _alternatives([*(whole.values() if single else ()), obj(**whole)])
    name = {"signature_name": STRING}
    return {
        "oneOf": [
            {"type": "object", "properties": {"instances": rows, **name}, "required": ["instances"], "not": _has("inputs")},
            {"type": "object", "properties": {"inputs": columns, **name}, "required": ["inputs"], "not": _has("instances")},
        ]
    }


def v1_response() -> Schema:
    """Rows as `predictions`, or columns as `outputs`, as the request was."""
    return {"oneOf": [obj(predictions={"type": "array"}), obj(outputs={})]}


def invocation(model: ModelMetadata) -> Schema:
    """A table as pandas writes it, by records or split, or a request of V1 (MLflow's REST API)."""
    row: Schema = obj(**{spec.name: _nested(spec, 1) for spec in model.inputs}) if model.inputs else {}
    split = obj(data={"type": "array", "minItems": 1, "items": {"type": "array"}})
    split["properties"]["columns"] = {"type": "array", "items": {"type": ["string", "integer"]}}
    tables = [obj(dataframe_records={"type": "array", "minItems": 1, "items": row}), obj(dataframe_split=split)]
    return {"oneOf": [*v1_request(model)["oneOf"], *tables]}


def _has(name: str) -> Schema:
    return {"required": [name]}


def _nested(spec: TensorSpec, axis: int) -> Schema:
    """Arrays in arrays, from a dimension on."""
    if axis >= len(spec.shape):
        leaf = element(spec.datatype)
        return {"anyOf": [leaf, BASE64]} if spec.datatype == "BYTES" else leaf
    size = spec.shape[axis]
    bounds = {} if size < 0 else {"minItems": size, "maxItems": size}
    return {"type": "array", **bounds, "items": _nested(spec, axis + 1)}


# ---- examples


def v2_example(model: ModelMetadata) -> Schema | None:
    """A request that works as it stands; None for a model that does not tell its inputs, or takes too much to show."""
    tensors = _example_tensors(model.inputs)
    return {"inputs": tensors} if tensors else None


def v2_response_example(model: ModelMetadata) -> Schema | None:
    """What an answer may look like."""
    tensors = _example_tensors(model.outputs)
    return {"model_name": model.name, "model_version": model.versions[-1], "outputs": tensors} if tensors else None


def v1_example(model: ModelMetadata) -> Schema | None:
    """One row; None as for V2."""
    rows = _example_rows(model.inputs)
    return {"instances": rows} if rows else None


def v1_response_example(model: ModelMetadata) -> Schema | None:
    """What the answer to one row may look like."""
    rows = _example_rows(model.outputs)
    return {"predictions": rows} if rows else None


def _example_tensors(specs: Sequence[TensorSpec]) -> list[Schema]:
    tensors = []
    for spec in specs:
        shape = [1 if size < 0 else size for size in spec.shape]
        if prod(shape) > MAX_EXAMPLE or spec.datatype in BINARY_ONLY:
            return []
        data = [SAMPLES.get(spec.datatype, 1)] * prod(shape)
        tensors.append({"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": data})
    return tensors


def _example_rows(specs: Sequence[TensorSpec]) -> list[Any]:
    tensors = _example_tensors(specs)
    columns = {each["name"]: _filled(each["shape"] or [1], SAMPLES.get(each["datatype"], 1)) for each in tensors}
    if len(columns) < 2:
        return next(iter(columns.values()), [])
    count = min(len(rows) for rows in columns.values())
    return [{name: rows[at] for name, rows in columns.items()} for at in range(count)]


def _filled(shape: list[int], value: Any) -> Any:
    return [_filled(shape[1:], value)] * shape[0] if shape else value
