"""What of a function's folder goes into its image."""

import os
from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.sources import LARGE, check_inside, model_only, whole_folder


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_code_and_weights_are_told_apart_by_name_and_size(tmp_path: Path) -> None:
    write(tmp_path, "handler.py", "weights/a.safetensors", "labels.txt", "big.txt")
    os.truncate(tmp_path / "big.txt", LARGE)
    found = whole_folder(tmp_path, "function")
    assert [entry.path for entry in found.code] == ["function/handler.py", "function/labels.txt"]
    assert [entry.path for entry in found.weights] == ["function/big.txt", "function/weights/a.safetensors"]


def test_hidden_files_caches_and_rendered_manifests_stay_out(tmp_path: Path) -> None:
    write(tmp_path, ".env", ".git/config", "__pycache__/a.pyc", "knative/service.yaml", "wheels/a.whl", "handler.py")
    assert [entry.path for entry in whole_folder(tmp_path, "f").code] == ["f/handler.py"]


@pytest.mark.parametrize("name", [".funcignore", ".dockerignore"])
def test_the_users_own_rules_hold(tmp_path: Path, name: str) -> None:
    write(tmp_path, "handler.py", "notes.md")
    (tmp_path / name).write_text("*.md\n")
    assert [entry.path for entry in whole_folder(tmp_path, "f").code] == ["f/handler.py"]


def test_links_are_followed_but_not_in_a_circle_and_what_is_no_file_is_said(tmp_path: Path) -> None:
    write(tmp_path, "real/a.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "real/a.txt")
    (tmp_path / "real/up").symlink_to(tmp_path)
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    found = whole_folder(tmp_path, "f")
    assert [entry.path for entry in found.code] == ["f/linked", "f/real/a.txt"]
    assert found.notes == ["broken is a link to nothing: it is left out", "pipe is no file: it is left out"]


def test_a_folder_that_a_link_names_as_well_goes_in_twice(tmp_path: Path) -> None:
    write(tmp_path, "v1/labels.txt")
    (tmp_path / "current").symlink_to("v1")
    found = whole_folder(tmp_path, "f")
    assert [entry.path for entry in found.code] == ["f/current/labels.txt", "f/v1/labels.txt"]


def test_a_pattern_that_is_none_is_an_error_that_names_its_file(tmp_path: Path) -> None:
    write(tmp_path, "handler.py")
    (tmp_path / ".funcignore").write_text("[z-a].txt\n")
    with pytest.raises(BuildError, match=r"\.funcignore has a pattern that is none .*: correct its brackets"):
        whole_folder(tmp_path, "f")


def test_of_a_function_without_code_only_the_model_goes_in(tmp_path: Path) -> None:
    write(tmp_path, "examples/model.onnx", "README.md")
    found = model_only(tmp_path, tmp_path / "examples/model.onnx", "function")
    assert ([entry.path for entry in found.weights], found.code) == (["function/examples/model.onnx"], [])


def test_so_do_the_files_that_an_onnx_model_names(tmp_path: Path) -> None:
    write(tmp_path, "model.onnx.data", "other.bin")
    (tmp_path / "model.onnx").write_bytes(b"\x0a\x08location\x12\x0fmodel.onnx.data")
    found = model_only(tmp_path, tmp_path / "model.onnx", "function")
    assert [entry.path for entry in found.weights] == ["function/model.onnx", "function/model.onnx.data"]


def test_a_folder_of_models_goes_in_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "models/iris/1/model.onnx", "models/iris/2/model.onnx")
    found = model_only(tmp_path, tmp_path / "models", "function")
    assert [entry.path for entry in found.weights] == [f"function/models/iris/{n}/model.onnx" for n in (1, 2)]


def test_a_model_beside_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is not in the function's folder"):
        check_inside(tmp_path / "f", tmp_path / "f/../model.onnx")


def test_a_name_that_no_tool_can_show_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a\nb.py")
    with pytest.raises(BuildError, match="rename the file"):
        whole_folder(tmp_path, "f")
