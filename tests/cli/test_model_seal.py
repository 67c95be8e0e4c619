"""`kfunc model seal`, and a handler that serves what it made."""

from base64 import b64encode
from pathlib import Path

import pytest

from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
KEY = b64encode(bytes(32)).decode()


def test_a_file_and_a_folder_are_sealed(kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", KEY)
    (tmp_path / "w/1").mkdir(parents=True)
    (tmp_path / "w/1/m.onnx").write_bytes(b"weights")
    assert "sealed" in kfunc("model", "seal", tmp_path / "w/1/m.onnx").out
    assert (tmp_path / "w/1/m.onnx.sealed").read_bytes().startswith(b"KFSEAL1\n")
    (tmp_path / "w/1/m.onnx.sealed").unlink()
    kfunc("model", "seal", tmp_path / "w", "-o", tmp_path / "out")
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.sealed")] == ["out/1/m.onnx.sealed"]


def test_what_comes_next_is_said_as_func_yaml_names_it(kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", KEY)
    (tmp_path / "f/w").mkdir(parents=True)
    (tmp_path / "f/func.yaml").write_text("")
    (tmp_path / "f/w/m.onnx").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    assert "{uri: ./w/m.onnx.sealed, sealed: true} in f/func.yaml, " in kfunc("model", "seal", "f/w/m.onnx").out


def test_nothing_is_sealed_twice(kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", KEY)
    (tmp_path / "m.onnx").write_bytes(b"weights")
    kfunc("model", "seal", tmp_path / "m.onnx")
    result = kfunc("model", "seal", tmp_path / "m.onnx.sealed")
    assert result == (2, "", f"error: {tmp_path}/m.onnx.sealed is sealed already: seal what it was made of\n")


@pytest.mark.parametrize("uri", ["w/m.onnx.sealed", "w"])
def test_a_sealed_model_that_func_yaml_does_not_call_so_is_told(kfunc: Command, tmp_path: Path, uri: str) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/m.onnx.sealed").write_bytes(b"KFSEAL1\n")
    (tmp_path / "func.yaml").write_text(f"name: iris\ninference: {{model: {{uri: {uri}}}}}\n")
    assert "m.onnx.sealed: is a sealed model: set sealed: true beside its uri" in kfunc("validate", tmp_path).err


def test_without_a_key_it_says_what_is_missing(kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY", raising=False)
    (tmp_path / "m.onnx").write_bytes(b"weights")
    result = kfunc("model", "seal", tmp_path / "m.onnx")
    assert result.status == 2
    assert "sealed models need MODEL_KEY" in result.err


@pytest.mark.parametrize("key", ["", "AAAA"])
def test_what_fails_leaves_nothing_so_that_it_can_be_tried_again(
    kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/m.onnx").write_bytes(b"weights")
    monkeypatch.setenv("MODEL_KEY", key)
    assert kfunc("model", "seal", tmp_path / "w").status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    monkeypatch.setenv("MODEL_KEY", KEY)
    assert kfunc("model", "seal", tmp_path / "w").status == 0


def test_a_link_to_a_folder_is_refused_rather_than_passed_over(
    kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", KEY)
    (tmp_path / "w").mkdir()
    (tmp_path / "w/m.onnx").write_bytes(b"weights")
    (tmp_path / "w/more").symlink_to(tmp_path)
    assert "more: is a link to a folder, which is not followed" in kfunc("model", "seal", tmp_path / "w").err


def test_a_function_with_a_sealed_model_is_valid_and_its_runtime_known_by_the_name_beneath(
    kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", KEY)
    kfunc("model", "seal", ROOT / "examples/iris/model.onnx", "-o", tmp_path / "model.onnx.sealed")
    (tmp_path / "func.yaml").write_text("name: iris\ninference: {model: {uri: model.onnx.sealed, sealed: true}}\n")
    assert "model.onnx.sealed with onnx (the name ends in .onnx)" in kfunc("validate", tmp_path).out
