"""Versions: what is pinned, what is installed, what a file was saved by."""

from pathlib import Path

import pytest

from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import ModelLoadError
from kfunc.handlers.opening import load_here
from kfunc.handlers.versions import installed, is_version, require_not_newer, require_safe, requirement

IRIS = Path(__file__).parents[2] / "examples/iris/model.onnx"


@pytest.mark.parametrize(
    ("version", "pin", "same"),
    [
        ("1.20.0", "1.20", True), ("1.20", "1.20.0", True), ("1.20.1", "1.20", False), ("1.20.1", "1.20.*", True),
        ("1.2.1", "1.20.*", False), ("2.6.0+cpu", "2.6", True), ("2.6.0+cpu", "2.6.0+cpu", True), ("2.6.0+cpu", "2.6.*", True),
        ("2.6.0rc1", "2.6.0", False), ("2.6.0rc1", "2.6.0rc1", True), ("10.0", "1.0", False),
    ],
)  # fmt: skip
def test_a_pin_is_read_as_pip_reads_it(version: str, pin: str, same: bool) -> None:
    assert is_version(version, pin) is same


def test_of_python_a_part_of_the_version_is_enough() -> None:
    assert is_version("3.12.7", "3.12", prefix=True)
    assert not is_version("3.1.2", "3.12", prefix=True)


def pinned(version: str, runtime: str = "onnx") -> PodConfig:
    model = PodModel(uri=str(IRIS), runtime=runtime, runtime_version=version)  # type: ignore[arg-type]
    return PodConfig(model=model, accelerator="cpu")


def test_another_version_than_the_pinned_one_is_refused_with_the_way_to_it() -> None:
    name, here = installed(("onnxruntime",))
    with pytest.raises(ModelLoadError) as caught:
        load_here(pinned("0.9"))
    assert caught.value.message == (
        f"func.yaml wants {name} 0.9 (inference.model.runtime), installed is {here}: pip install onnxruntime==0.9, or change it"
    )
    assert load_here(pinned(here)).inputs


def test_a_pin_is_a_requirement_for_pip() -> None:
    assert requirement("onnx", "1.20.1") == "onnxruntime==1.20.1"
    assert requirement("catboost", "1.2.*") == "catboost==1.2.*"
    assert requirement("python", "3.12") is None


@pytest.mark.parametrize(("saved_by", "refused"), [("0.1", False), ("99", True), ("99.1.2", True)])
def test_a_file_of_a_newer_library_is_refused(saved_by: str, refused: bool) -> None:
    path = Path("m.onnx")
    if not refused:
        require_not_newer(path, "onnx", saved_by)
        return
    with pytest.raises(ModelLoadError, match=rf"m.onnx: was saved by onnxruntime {saved_by}, newer than "):
        require_not_newer(path, "onnx", saved_by)


def test_the_same_release_is_not_newer_whatever_comes_behind_what_the_file_tells() -> None:
    _, here = installed(("onnxruntime",))
    require_not_newer(Path("m.onnx"), "onnx", ".".join(here.split(".")[:2]))


@pytest.mark.parametrize(("here", "safe"), [("0.11.0", False), ("0.9", False), ("0.13.0", True), ("0.13", True), ("1.0", True)])
def test_a_library_that_misses_code_looks_into_no_foreign_file(here: str, safe: bool) -> None:
    if safe:
        require_safe(Path("m.skops"), "skops", here, "0.13")
        return
    with pytest.raises(
        ModelLoadError, match=rf"^m\.skops: skops {here} misses code in files like this: pip install 'skops>=0\.13'"
    ):
        require_safe(Path("m.skops"), "skops", here, "0.13")
