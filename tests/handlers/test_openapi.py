"""The OpenAPI document of a function, and the schemas in it."""

import json
from typing import Any

import msgspec
import pytest
import schemathesis
from jsonschema_rs import Draft202012Validator

from kfunc.config.pod import PodConfig, PodModel
from kfunc.handlers.openapi import document
from kfunc.handlers.openapi_schemas import element
from kfunc.protocol.datatypes import DATATYPES
from kfunc.protocol.messages import ModelMetadata, TensorSpec

IRIS = ModelMetadata("iris", ["1", "2"], "test", [TensorSpec("x", "FP32", [-1, 4])], [TensorSpec("label", "INT64", [-1])])
PAIR = ModelMetadata(
    "pair",
    ["1"],
    "test",
    [TensorSpec("a", "INT64", [-1, 2]), TensorSpec("b", "BYTES", [-1])],
    [TensorSpec("y", "FP32", [-1]), TensorSpec("z", "BYTES", [-1, 1])],
)
UNTOLD = ModelMetadata("untold", ["1"], "python", [], [])
HALF = ModelMetadata("half", ["1"], "test", [TensorSpec("x", "FP16", [-1])], [])
IMAGE = ModelMetadata("image", ["1"], "test", [TensorSpec("x", "FP32", [-1, 3, 224, 224])], [])
MODELS = (IRIS, PAIR, UNTOLD, HALF, IMAGE)


def made(*models: ModelMetadata, protocols: tuple[str, ...] = ("v1", "v2"), explained: tuple[str, ...] = ()) -> dict[str, Any]:
    """The paths of a document that is valid."""
    config = PodConfig(model=PodModel(name="iris", uri="model.onnx", runtime="onnx"), protocols=list(protocols))  # type: ignore[arg-type]
    whole = json.loads(json.dumps(document(config, models, explained)))
    schemathesis.openapi.from_dict(whole).validate()
    paths: dict[str, Any] = whole["paths"]
    return paths


def request_body(paths: dict[str, Any], path: str) -> dict[str, Any]:
    content: dict[str, Any] = paths[path]["post"]["requestBody"]["content"]["application/json"]
    return content


def answer_body(paths: dict[str, Any], path: str) -> dict[str, Any]:
    content: dict[str, Any] = paths[path]["post"]["responses"]["200"]["content"]["application/json"]
    return content


def accepts(schema: dict[str, Any], value: Any) -> bool:
    return Draft202012Validator(schema).is_valid(value)


def test_a_document_of_all_kinds_of_models_is_valid() -> None:
    assert len(made(*MODELS, explained=("iris",))) > 40


def test_each_model_and_version_has_its_paths() -> None:
    paths = set(made(IRIS, PAIR))
    assert {"/v2/models/iris/infer", "/v2/models/iris/versions/2/infer", "/v2/models/pair/ready"} <= paths
    assert {"/v1/models/pair:predict", "/v1/models/iris/versions/1:predict", "/v1/models/iris"} <= paths


def test_an_operation_has_an_id_of_its_own() -> None:
    ids = [operation["operationId"] for item in made(*MODELS).values() for operation in item.values()]
    assert len(ids) == len(set(ids))


def test_a_protocol_that_is_not_served_has_no_paths_but_health() -> None:
    health = {"/v2/health/live", "/v2/health/ready"}
    assert {path for path in made(IRIS, protocols=("v1",)) if path.startswith("/v2")} == health
    assert not [path for path in made(IRIS, protocols=("v2",)) if path.startswith("/v1")]


def test_versions_that_differ_have_their_own_tensors_and_the_last_one_is_the_default() -> None:
    old = msgspec.structs.replace(IRIS, versions=["1"], inputs=[TensorSpec("x", "FP32", [-1, 3])])
    paths = made(old, msgspec.structs.replace(IRIS, versions=["2"]))
    rows = {path: request_body(paths, path)["example"]["inputs"][0]["shape"] for path in paths if path.endswith("/infer")}
    assert rows == {
        "/v2/models/iris/versions/1/infer": [1, 3],
        "/v2/models/iris/infer": [1, 4],
        "/v2/models/iris/versions/2/infer": [1, 4],
    }


def test_only_a_model_that_explains_has_the_path_for_it() -> None:
    assert [path for path in made(IRIS, PAIR, explained=("pair",)) if path.endswith("/pair:explain")]
    assert not [path for path in made(IRIS, PAIR, explained=("pair",)) if path.endswith(("/iris:explain", "/iris/explain"))]


def test_v2_explains_where_the_model_does() -> None:
    assert {"/v2/models/pair/explain", "/v2/models/pair/versions/1/explain"} <= set(made(IRIS, PAIR, explained=("pair",)))


def test_mlflow_s_paths_are_there_with_every_protocol() -> None:
    for protocol in ("v1", "v2"):
        assert {"/invocations", "/ping"} <= set(made(IRIS, protocols=(protocol,)))


def test_a_default_model_that_is_not_loaded_takes_any_table() -> None:
    assert accepts(request_body(made(PAIR), "/invocations")["schema"], {"dataframe_records": [{"any": 1}]})


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({"instances": [[1, 2, 3, 4]]}, True),
        ({"inputs": [[1, 2, 3, 4]]}, True),
        ({"dataframe_records": [{"x": [1, 2, 3, 4]}]}, True),
        ({"dataframe_split": {"columns": ["x"], "data": [[[1, 2, 3, 4]]]}}, True),
        ({"dataframe_records": []}, False),
        ({"dataframe_split": {"columns": ["x"]}}, False),
        ({"instances": [[1, 2, 3, 4]], "dataframe_split": {"data": [[1]]}}, False),
    ],
)
def test_invocations_take_one_of_mlflow_s_forms(body: dict[str, Any], good: bool) -> None:
    assert accepts(request_body(made(IRIS), "/invocations")["schema"], body) is good


@pytest.mark.parametrize(
    ("tensor", "good"),
    [
        ({}, True),
        ({"data": [[1, 2, 3, 4], [5, 6, 7, 8]]}, True),
        ({"data": [1, "2"]}, False),
        ({"name": "z"}, False),
        ({"datatype": "FP64"}, False),
        ({"shape": [1, 5]}, False),
        ({"shape": [4]}, False),
        ({"shape": [-1, 4]}, False),
    ],
)
def test_a_request_has_the_model_s_own_tensors(tensor: dict[str, Any], good: bool) -> None:
    schema = request_body(made(IRIS), "/v2/models/iris/infer")["schema"]
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **tensor}]
    assert accepts(schema, {"inputs": inputs}) is good


@pytest.mark.parametrize(
    ("path", "body", "good"),
    [
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3, 4]]}, True),
        ("/v1/models/iris:predict", {"instances": [{"x": [1, 2, 3, 4]}]}, True),
        ("/v1/models/iris:predict", {"inputs": {"x": [[1, 2, 3, 4]]}}, True),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3]]}, False),
        ("/v1/models/iris:predict", {"instances": []}, False),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3, 4]], "inputs": [[1, 2, 3, 4]]}, False),
        ("/v1/models/pair:predict", {"instances": [{"a": [1, 2], "b": {"b64": "AA=="}}]}, True),
        ("/v1/models/pair:predict", {"instances": [[1, 2]]}, False),
    ],
)
def test_v1_takes_rows_and_columns(path: str, body: dict[str, Any], good: bool) -> None:
    assert accepts(request_body(made(IRIS, PAIR), path)["schema"], body) is good


@pytest.mark.parametrize(
    "path", ["/v2/models/iris/infer", "/v2/models/pair/infer", "/v1/models/iris:predict", "/v1/models/pair:predict"]
)
def test_the_examples_are_as_their_schemas_say(path: str) -> None:
    paths = made(IRIS, PAIR)
    for content in (request_body(paths, path), answer_body(paths, path)):
        assert accepts(content["schema"], content["example"])


def test_an_answer_may_have_null_where_a_number_is_none() -> None:
    schema = answer_body(made(PAIR), "/v2/models/pair/infer")["schema"]
    outputs = [{"name": "y", "shape": [1], "datatype": "FP32", "data": [None]}]
    assert accepts(schema, {"model_name": "pair", "model_version": "1", "outputs": outputs})


def test_a_model_that_does_not_tell_its_inputs_takes_any() -> None:
    content = request_body(made(UNTOLD), "/v2/models/untold/infer")
    assert "example" not in content
    assert accepts(content["schema"], {"inputs": [{"name": "a", "shape": [], "datatype": "BOOL", "data": [True]}]})


def test_what_json_cannot_carry_is_only_taken_in_binary() -> None:
    content = made(HALF)["/v2/models/half/infer"]["post"]["requestBody"]["content"]
    assert list(content) == ["application/octet-stream"]


def test_a_large_input_has_no_example() -> None:
    assert "example" not in request_body(made(IMAGE), "/v2/models/image/infer")


@pytest.mark.parametrize(
    ("datatype", "good", "bad"),
    [
        ("BOOL", [True], [1, "true"]),
        ("UINT8", [0, 255], [-1, 256, 0.5]),
        ("INT8", [-128, 127], [-129, 128]),
        ("UINT64", [2**64 - 1], [-1]),
        ("INT64", [-(2**63), 2**63 - 1], []),
        ("FP32", [0, 3.4e38], [3.5e38, None]),
        ("FP64", [1e308], ["1"]),
        ("BYTES", ["", "é"], [1]),
    ],
)
def test_an_element_is_what_its_datatype_can_hold(datatype: str, good: list[Any], bad: list[Any]) -> None:
    schema = element(datatype)
    assert [value for value in good if not accepts(schema, value)] == []
    assert [value for value in bad if accepts(schema, value)] == []


def test_every_datatype_has_elements() -> None:
    assert all(element(datatype)["type"] for datatype in DATATYPES)
