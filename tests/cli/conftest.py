from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kfunc.cli import main

FUNC_YAML = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./model.onnx}
  logger: {}
"""


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
