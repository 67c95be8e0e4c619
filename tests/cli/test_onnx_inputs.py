"""What an ONNX file says of its inputs, as onnxruntime does."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kfunc.cli.onnx_inputs import onnx_inputs

IRIS = Path(__file__).parents[2] / "examples/iris/model.onnx"


def saved(folder: Path, *shapes: list[int | str] | None) -> Path:
    """A model with inputs `x0`, `x1` … and a constant that is an input too, as old files have them."""
    inputs = [helper.make_tensor_value_info(f"x{at}", TensorProto.FLOAT, shape) for at, shape in enumerate(shapes)]
    constant = numpy_helper.from_array(np.zeros(70_000, np.float32), "w")
    inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [70_000]))
    node = helper.make_node("Identity", ["x0"], ["y"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, shapes[0])
    graph = helper.make_graph([node], "g", inputs, [output], [constant])
    onnx.save(helper.make_model(graph), folder / "m.onnx")
    return folder / "m.onnx"


def test_an_example_s_input_is_known() -> None:
    assert onnx_inputs(IRIS) == {"input": [-1, 4]}


def test_names_without_a_size_are_of_any_and_constants_no_inputs(tmp_path: Path) -> None:
    assert onnx_inputs(saved(tmp_path, ["batch", 3, 224, 224], [])) == {"x0": [-1, 3, 224, 224], "x1": []}


def test_an_input_of_any_rank_says_nothing(tmp_path: Path) -> None:
    assert onnx_inputs(saved(tmp_path, [1], None)) == {}


@pytest.mark.parametrize("cut", [0, 1, 20, 100])
def test_what_is_cut_off_or_something_else_says_nothing(tmp_path: Path, cut: int) -> None:
    (tmp_path / "m.onnx").write_bytes(IRIS.read_bytes()[:cut] if cut else b"")
    assert onnx_inputs(tmp_path / "m.onnx") == {}
    (tmp_path / "m.onnx").write_bytes(b"\xff" * cut)
    assert onnx_inputs(tmp_path / "m.onnx") == {}
