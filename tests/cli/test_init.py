import hashlib
import re
from pathlib import Path

import pytest

from kfunc.config.load import load_function
from tests.cli.conftest import Command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def test_without_a_model_it_writes_a_handler_and_a_func_yaml_for_it(kfunc: Command, tmp_path: Path) -> None:
    result = kfunc("init", tmp_path / "greeter")
    assert result.status == 0
    assert load_function(tmp_path / "greeter/func.yaml").inference.model.uri == "./handler.py"
    assert "class RowStatistics(Handler):" in (tmp_path / "greeter/handler.py").read_text()
    assert result.out.endswith(f"next: kfunc run {tmp_path}/greeter\n")


def test_a_handler_that_is_there_stays_as_it_is(kfunc: Command, tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("mine")
    assert kfunc("init", tmp_path).status == 0
    assert (tmp_path / "handler.py").read_text() == "mine"


def test_the_fields_are_those_that_the_func_cli_wants(kfunc: Command, tmp_path: Path) -> None:
    kfunc("init", tmp_path / "iris")
    text = (tmp_path / "iris/func.yaml").read_text()
    assert text.startswith("specVersion: 0.36.0\nname: iris\n")
    assert re.search(r"^created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", text, re.MULTILINE)
    assert "\nruntime: python\n" in text


@pytest.mark.parametrize(
    ("folder", "name"),
    [("iris", "iris"), ("My Model_2", "my-model-2"), ("2nd", "f-2nd"), ("Ä", "function"), ("a" * 80, "a" * 54)],
)
def test_the_name_is_the_folder_s_as_kubernetes_can_have_it(kfunc: Command, tmp_path: Path, folder: str, name: str) -> None:
    kfunc("init", tmp_path / folder)
    assert load_function(tmp_path / folder / "func.yaml").name == name


def test_a_name_can_be_given(kfunc: Command, tmp_path: Path) -> None:
    kfunc("init", tmp_path, "--name", "rose")
    assert load_function(tmp_path / "func.yaml").name == "rose"


def test_a_model_elsewhere_is_copied_into_the_folder(kfunc: Command, tmp_path: Path, model: Path) -> None:
    result = kfunc("init", tmp_path / "iris", "--model", model)
    assert f"copied {model} to {tmp_path}/iris/model.onnx" in result.out
    assert (tmp_path / "iris/model.onnx").read_bytes() == b"weights"
    assert load_function(tmp_path / "iris/func.yaml").inference.model.uri == "./model.onnx"


def test_a_model_in_the_folder_stays_where_it_is(kfunc: Command, tmp_path: Path, model: Path) -> None:
    kfunc("init", tmp_path, "--model", model)
    assert load_function(tmp_path / "func.yaml").inference.model.uri == "./elsewhere/model.onnx"


def test_the_only_model_in_the_folder_is_taken_without_being_named(kfunc: Command, tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("mine")
    result = kfunc("init", tmp_path)
    assert f"wrote {tmp_path}/func.yaml: model.skops with sklearn" in result.out
    assert load_function(tmp_path / "func.yaml").inference.model.uri == "./model.skops"
    assert not (tmp_path / "handler.py").exists()


def test_a_pickle_in_the_folder_is_no_less_to_be_trusted(kfunc: Command, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"anything")
    assert "pass --trust" in kfunc("init", tmp_path).err


def test_of_several_models_in_the_folder_one_is_to_be_named(kfunc: Command, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.ubj"):
        (tmp_path / name).write_bytes(b"weights")
    assert "holds a.onnx, b.ubj: name one with --model" in kfunc("init", tmp_path).err
    assert kfunc("init", tmp_path, "--runtime", "python").status == 0
    assert load_function(tmp_path / "func.yaml").inference.model.uri == "./handler.py"


def test_a_handler_is_asked_before_the_model_beside_it(kfunc: Command, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    (tmp_path / "handler.py").write_text("mine")
    kfunc("init", tmp_path)
    assert load_function(tmp_path / "func.yaml").inference.model.uri == "./handler.py"


def test_a_file_of_the_model_s_name_is_not_overwritten(kfunc: Command, tmp_path: Path, model: Path) -> None:
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris/model.onnx").write_bytes(b"other")
    assert kfunc("init", tmp_path / "iris", "--model", model).status == 2
    assert (tmp_path / "iris/model.onnx").read_bytes() == b"other"


def test_a_func_yaml_is_not_overwritten_without_force(kfunc: Command, folder: Path) -> None:
    result = kfunc("init", folder, "--name", "rose")
    assert result == (2, "", f"error: {folder}/func.yaml exists; --force overwrites it\n")
    assert load_function(folder / "func.yaml").name == "iris"


def test_force_overwrites_a_func_yaml(kfunc: Command, folder: Path) -> None:
    assert kfunc("init", folder, "--name", "rose", "--force").status == 0
    assert load_function(folder / "func.yaml").name == "rose"


def test_a_runtime_that_is_asked_for_is_written(kfunc: Command, tmp_path: Path, model: Path) -> None:
    result = kfunc("init", tmp_path, "--model", model, "--runtime", "onnx")
    assert "with onnx (as asked)" in result.out
    assert load_function(tmp_path / "func.yaml").inference.model.runtime == "onnx"


def test_a_missing_model_leaves_no_folder_behind(kfunc: Command, tmp_path: Path) -> None:
    result = kfunc("init", tmp_path / "iris", "--model", tmp_path / "none.onnx")
    assert result == (2, "", f"error: the model {tmp_path}/none.onnx does not exist\n")
    assert not (tmp_path / "iris").exists()


def test_a_pickle_is_refused_unless_it_is_trusted(kfunc: Command, tmp_path: Path) -> None:
    pickle = tmp_path / "model.joblib"
    pickle.write_bytes(b"anything")
    result = kfunc("init", tmp_path, "--model", pickle)
    assert result.status == 2
    assert "--trust" in result.err


def test_a_trusted_pickle_is_written_with_its_digest(kfunc: Command, tmp_path: Path) -> None:
    pickle = tmp_path / "model.joblib"
    pickle.write_bytes(b"anything")
    assert kfunc("init", tmp_path, "--model", pickle, "--trust").status == 0
    settings = load_function(tmp_path / "func.yaml").inference.model
    assert settings.trust
    assert settings.digest == f"sha256:{hashlib.sha256(b'anything').hexdigest()}"


@pytest.mark.parametrize(
    "name", ["a b.onnx", "yes", "1.onnx", "ü: #.onnx", 'q"uote.onnx', "'x'.onnx", "- x.onnx", "{}.onnx", "null", "a: b"]
)
def test_any_file_name_survives_the_way_through_yaml(kfunc: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert kfunc("init", tmp_path, "--model", tmp_path / name, "--runtime", "onnx", "--name", "yes").status == 0
    uri = load_function(tmp_path / "func.yaml").inference.model.uri
    assert uri == f"./{name}"


@pytest.mark.parametrize("name", ["back\\slash.onnx", "a$b.onnx", "line\nend.onnx"])
def test_a_file_name_that_func_yaml_does_not_take_is_refused(kfunc: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    result = kfunc("init", tmp_path, "--model", tmp_path / name)
    assert result.status == 2
    assert "inference.model.uri" in result.err
    assert not (tmp_path / "func.yaml").exists()


def test_what_it_writes_is_valid(kfunc: Command, tmp_path: Path, model: Path) -> None:
    kfunc("init", tmp_path / "iris", "--model", model)
    assert kfunc("validate", tmp_path / "iris").status == 0


def test_a_folder_that_cannot_be_written_is_named(kfunc: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = kfunc("init", tmp_path / "file" / "below")
    assert result.status == 2
    assert result.err == f"error: cannot write {tmp_path}/file/below: Not a directory\n"
