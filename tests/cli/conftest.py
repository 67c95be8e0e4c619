from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kfunc.cli import main
from tests.images.fakes import write_index

FUNC_YAML = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./model.onnx}
  logger: {}
"""
WITH_IMAGE = FUNC_YAML.replace("runtime: python", "runtime: python\nimage: registry.example.com/team/iris")


class Result(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def kfunc(capsys: pytest.CaptureFixture[str]) -> Command:
    """`kfunc` with these arguments: exit status and what it printed."""

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A function whose model file is there, and no model."""
    (tmp_path / "func.yaml").write_text(FUNC_YAML)
    (tmp_path / "model.onnx").write_bytes(b"")
    return tmp_path


@pytest.fixture(scope="module")
def build_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kfunc build` keeps between the tests of a module."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only packages that there are."""
    return write_index(tmp_path_factory.mktemp("index"), "onnx", "onnx-gpu", "nvidia")


@pytest.fixture
def build_environment(folder: Path, build_cache: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function has an image; nothing is fetched from elsewhere."""
    (folder / "func.yaml").write_text(WITH_IMAGE)
    for name, value in {"KFUNC_CACHE": build_cache, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "HOME": folder}.items():
        monkeypatch.setenv(name, str(value))
