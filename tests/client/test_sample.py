from base64 import b64decode
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from kfunc.client.sample import sample_request, shape_of, wrap_array, wrap_arrays, wrap_picture
from kfunc.errors import InvalidRequest
from kfunc.protocol.messages import TensorSpec

ROW = TensorSpec("input", "FP32", [-1, 4])
IDS = TensorSpec("ids", "INT64", [-1, -1])


def test_a_v2_sample_has_one_row_of_plausible_values_for_each_input() -> None:
    assert sample_request([ROW, IDS], "v2") == {
        "inputs": [
            {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]},
            {"name": "ids", "shape": [1, 1], "datatype": "INT64", "data": [0]},
        ]
    }


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP16", [0.1, 0.2]),
        ("FP64", [0.1, 0.2]),
        ("INT8", [0, 1]),
        ("UINT64", [0, 1]),
        ("BOOL", [False, True]),
        ("BYTES", ["text", "text"]),
    ],
)
def test_the_values_fit_the_datatype(datatype: str, data: list[Any]) -> None:
    assert sample_request([TensorSpec("x", datatype, [2])], "v2")["inputs"][0]["data"] == data


@pytest.mark.parametrize(
    ("shape", "instances"),
    [([-1, 2], [[0.1, 0.2]]), ([-1], [0.1]), ([2, 2], [[0.1, 0.2], [0.3, 0.4]]), ([], [0.1]), ([-1, 1, 2], [[[0.1, 0.2]]])],
)
def test_a_v1_sample_of_one_input_is_a_list_of_rows(shape: list[int], instances: list[Any]) -> None:
    assert sample_request([TensorSpec("x", "FP32", shape)], "v1") == {"instances": instances}


def test_a_v1_sample_of_several_inputs_names_them() -> None:
    assert sample_request([ROW, IDS], "v1") == {"instances": [{"input": [0.1, 0.2, 0.3, 0.4], "ids": [0]}]}


def test_rows_are_as_many_as_are_asked_for_in_either_protocol() -> None:
    assert len(sample_request([ROW, IDS], "v1", 8)["instances"]) == 8
    assert [each["shape"] for each in sample_request([ROW, IDS], "v2", 8)["inputs"]] == [[8, 4], [8, 1]]


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_rows_of_an_input_that_has_none_are_refused(protocol: str) -> None:
    with pytest.raises(InvalidRequest, match=r"fixed shape \[1, 2\]: leave --rows out"):
        sample_request([TensorSpec("x", "FP32", [1, 2])], protocol, 8)


def test_a_model_without_inputs_needs_data() -> None:
    with pytest.raises(InvalidRequest, match="--data"):
        sample_request([], "v2")


def test_a_sample_of_a_giant_input_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="10000000 elements"):
        sample_request([TensorSpec("x", "FP32", [100_000, 100_000])], "v2")


@pytest.mark.parametrize(
    ("array", "shape", "data"),
    [
        ([[1, 2, 3, 4], [5, 6, 7, 8]], [2, 4], [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ([1, 2, 3, 4], [1, 4], [[1, 2, 3, 4]]),
        ([1, 2, 3, 4, 5, 6, 7, 8], [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
        ([1, 2, 3], [3], [1, 2, 3]),
        ([[1, 2, 3]], [1, 3], [[1, 2, 3]]),
        ([], [0, 4], []),
    ],
)
def test_an_array_gets_the_shape_of_the_input_where_that_is_possible(array: Any, shape: list[int], data: Any) -> None:
    assert wrap_array(array, [ROW], "v2")["inputs"] == [{"name": "input", "shape": shape, "datatype": "FP32", "data": data}]


@pytest.mark.parametrize(
    ("array", "datatype"),
    [([[1.5]], "FP64"), ([1], "INT64"), ([True], "BOOL"), (["a"], "BYTES"), ([], "FP64"), ([None], "FP64")],
)
def test_without_metadata_the_datatype_is_that_of_the_first_value(array: list[Any], datatype: str) -> None:
    assert wrap_array(array, [], "v2")["inputs"][0]["datatype"] == datatype


def test_an_array_for_v1_is_its_instances() -> None:
    assert wrap_array([[1, 2]], [ROW, IDS], "v1") == {"instances": [[1, 2]]}


def test_an_array_for_several_inputs_is_refused_with_their_names() -> None:
    with pytest.raises(InvalidRequest, match="2 inputs \\(input, ids\\)"):
        wrap_array([1], [ROW, IDS], "v2")


@pytest.mark.parametrize(("value", "shape"), [(1, []), ([], [0]), ([1, 2], [2]), ([[1], [2]], [2, 1]), ([[]], [1, 0])])
def test_the_shape_of_a_nested_list(value: Any, shape: list[int]) -> None:
    assert shape_of(value) == shape


def test_arrays_by_name_get_their_inputs_datatypes_and_shapes() -> None:
    specs = [TensorSpec("a", "FP32", [-1, 2]), TensorSpec("b", "INT8", [-1])]
    assert wrap_arrays({"b": [3], "a": [1, 2]}, specs, "v2") == {
        "inputs": [
            {"name": "b", "shape": [1], "datatype": "INT8", "data": [3]},
            {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]]},
        ]
    }


def test_arrays_by_name_are_rows_of_objects_in_v1() -> None:
    assert wrap_arrays({"a": [1, 2], "b": ["x", "y"]}, [], "v1") == {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}


def test_arrays_with_different_numbers_of_rows_are_no_v1_request() -> None:
    with pytest.raises(InvalidRequest, match="same number of rows"):
        wrap_arrays({"a": [1, 2], "b": [1]}, [], "v1")


IMAGE = TensorSpec("image", "BYTES", [-1])


def test_a_model_of_pictures_gets_one_that_can_be_opened() -> None:
    made = sample_request([IMAGE], "v2", 2, pictures=True)["inputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in made] == [("image", "BYTES", [2])]
    (row, _) = sample_request([IMAGE], "v1", 2, pictures=True)["instances"]
    assert row == {"b64": made[0]["data"][0]}
    picture = Image.open(BytesIO(b64decode(row["b64"])))
    picture.load()
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (224, 224))


@pytest.mark.parametrize(("shape", "data", "sent"), [([-1], [b"x"], [1]), ([-1, 1], [[b"x"]], [1, 1])])
def test_a_picture_is_the_only_input(shape: list[int], data: Any, sent: list[int]) -> None:
    spec = TensorSpec("image", "BYTES", shape)
    assert wrap_picture(b"x", [spec], "v2") == {"inputs": [{"name": "image", "shape": sent, "datatype": "BYTES", "data": data}]}
    assert wrap_picture(b"x", [spec], "v1") == {"instances": [{"b64": "eA=="}]}


@pytest.mark.parametrize("specs", [[ROW], [IMAGE, IDS]])
def test_a_model_of_something_else_takes_no_picture(specs: list[TensorSpec]) -> None:
    with pytest.raises(InvalidRequest, match=r"the model takes no picture but .*; inference\.images in func\.yaml"):
        wrap_picture(b"x", specs, "v2")
