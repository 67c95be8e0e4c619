"""What of a function's folder goes into its image."""

import os
from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.sources import LARGE, check_holds, check_inside, models_only, whole_folder


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
    found = models_only(tmp_path, [tmp_path / "examples/model.onnx"], "function")
    assert ([entry.path for entry in found.weights], found.code) == (["function/examples/model.onnx"], [])


def test_so_do_the_files_that_an_onnx_model_names(tmp_path: Path) -> None:
    write(tmp_path, "parts/w", "other.bin", "key")
    write_onnx(tmp_path / "model.onnx", "parts/w")
    found = models_only(tmp_path, [tmp_path / "model.onnx"], "function")
    assert [entry.path for entry in found.weights] == ["function/model.onnx", "function/parts/w"]


def write_onnx(path: Path, name: str) -> None:
    """As much of a model as names a file with tensors, a node of another file's name, and a place among its metadata."""
    entry = b"\x0a\x08location\x12" + bytes([len(name)]) + name.encode()
    place = b"\x0a\x08location\x12\x06Berlin"
    path.write_bytes(b"attention/key/MatMul\x6a" + bytes([len(entry)]) + entry + b"\x72" + bytes([len(place)]) + place)


@pytest.mark.parametrize(("name", "message"), [("w", "which is not beside it"), ("../w", "which is not in its folder")])
def test_a_file_that_an_onnx_model_names_in_vain_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, "f/other", "w")
    write_onnx(tmp_path / "f/model.onnx", name)
    with pytest.raises(BuildError, match=message):
        models_only(tmp_path / "f", [tmp_path / "f/model.onnx"], "function")


def test_a_model_of_two_files_goes_in_as_both(tmp_path: Path) -> None:
    write(tmp_path, "model.xml", "model.bin", "other.bin")
    found = models_only(tmp_path, [tmp_path / "model.xml"], "function")
    assert [entry.path for entry in found.weights] == ["function/model.xml", "function/model.bin"]


def test_a_folder_of_models_goes_in_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "models/iris/1/model.onnx", "models/iris/2/model.onnx", "models/wheels/model.onnx", "models/.cache/x")
    found = models_only(tmp_path, [tmp_path / "models", tmp_path / "models/wheels/model.onnx"], "function")
    names = ["iris/1", "iris/2", "wheels"]
    assert [entry.path for entry in found.weights] == [f"function/models/{name}/model.onnx" for name in names]


def test_a_folder_that_is_function_and_models_in_one_keeps_what_is_no_model_out(tmp_path: Path) -> None:
    write(tmp_path, "func.yaml", "iris/model.onnx", "wheels/a.whl", "x.tar")
    found = models_only(tmp_path, [tmp_path], "function")
    assert [entry.path for entry in found.weights] == ["function/iris/model.onnx"]


@pytest.mark.parametrize(
    ("rules", "model"), [("*.py", "handler.py"), ("*\n!a.txt", "handler.py"), ("*.py", "."), ("*.py", "m"), ("m", "m")]
)
def test_a_rule_that_leaves_out_the_model_is_an_error(tmp_path: Path, rules: str, model: str) -> None:
    write(tmp_path, "handler.py", "a.txt", "m/handler.py", "m/a.txt")
    (tmp_path / ".dockerignore").write_text(rules)
    with pytest.raises(BuildError, match=r"write !.* into \.dockerignore"):
        check_holds(whole_folder(tmp_path, "f"), tmp_path, [tmp_path / model], "f")


def test_a_folder_whose_files_are_taken_back_is_looked_into(tmp_path: Path) -> None:
    write(tmp_path, "handler.py", "src/a/b.py", "other/c.py")
    (tmp_path / ".dockerignore").write_text("*\n!handler.py\n!src/**\n")
    assert [entry.path for entry in whole_folder(tmp_path, "f").code] == ["f/handler.py", "f/src/a/b.py"]


def test_a_package_that_is_named_like_rendered_manifests_goes_in(tmp_path: Path) -> None:
    write(tmp_path, "monitoring/__init__.py", "knative/service.yaml")
    assert [entry.path for entry in whole_folder(tmp_path, "f").code] == ["f/monitoring/__init__.py"]


@pytest.mark.parametrize("name", ["iris.tar", "a/server.key", "a/cert.pem", "id_rsa", "credentials.json"])
def test_images_and_secrets_stay_out_and_it_is_said_how_to_have_them(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "handler.py", "id_map.json")
    found = whole_folder(tmp_path, "f")
    assert [entry.path for entry in found.code] == ["f/handler.py", "f/id_map.json"]
    assert found.notes == [f"{name} is left out: it may be a secret, or an image; !{name} in .funcignore takes it back"]
    (tmp_path / ".funcignore").write_text(f"!{name}\n")
    assert f"f/{name}" in [entry.path for entry in whole_folder(tmp_path, "f").code]


def test_a_layout_that_a_build_wrote_stays_out_of_the_next_and_so_does_func_yaml(tmp_path: Path) -> None:
    write(tmp_path, "layout/oci-layout", "layout/index.json", "handler.py", "func.yaml")
    found = whole_folder(tmp_path, "f")
    assert ([entry.path for entry in found.code], found.notes) == (["f/handler.py"], ["layout is left out: it holds images"])


def test_a_model_beside_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is not in the function's folder"):
        check_inside(tmp_path / "f", tmp_path / "f/../model.onnx")


def test_a_name_that_no_tool_can_show_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a\nb.py")
    with pytest.raises(BuildError, match="rename the file"):
        whole_folder(tmp_path, "f")
