"""What `kfunc run --reload` looks at, and what it starts when that has changed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kfunc.cli.changes import Changes, Watched
from kfunc.cli.child import Program
from kfunc.cli.console import Console
from kfunc.cli.setup import Asked, Reload, Setup, introduction

FUNC_YAML = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: MODEL}
  MORE
"""


Write = Callable[..., Setup]


@pytest.fixture
def write() -> Iterator[Write]:
    """Writes a function, and sets it up."""
    made: list[Setup] = []

    def write(folder: Path, model: str, more: str = "protocols: [v1]") -> Setup:
        folder.mkdir(exist_ok=True)
        (folder / "func.yaml").write_text(FUNC_YAML.replace("MODEL", model).replace("MORE", more))
        (folder / "handler.py").write_text("from kfunc import Handler\n\n\nclass Mine(Handler):\n    pass\n")
        made.append(Setup(Asked(folder, None, access_log=False)))
        return made[-1]

    yield write
    for setup in made:
        for listener in setup.management.values():
            listener.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "f"


def test_files_and_spool_of_the_logger_are_the_functions_own(folder: Path, write: Write) -> None:
    sinks = "logger: {sink: 'file:events.jsonl', dead_letter: 'file:dead%20letters.jsonl', spool: spool}"
    own = write(folder, "./handler.py", sinks).watched.own
    assert own == [folder / "events.jsonl", folder / "dead letters.jsonl", folder / "spool"]


def test_every_model_outside_the_folder_is_watched(folder: Path, tmp_path: Path, write: Write) -> None:
    more = (
        f"models: [{{name: a, uri: {tmp_path / 'a.onnx'}}}, {{name: b, uri: ./b.onnx}}, {{name: c, uri: 's3://bucket/c.onnx'}}]"
    )
    for name in "a.onnx", "f/b.onnx":
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert write(folder, "./handler.py", more).watched == Watched([folder, tmp_path / "a.onnx"], [])


def test_a_model_that_func_yaml_names_since_a_change_is_watched(folder: Path, tmp_path: Path, write: Write) -> None:
    setup = write(folder, "./handler.py")
    other = tmp_path / "elsewhere"
    write(other, "./handler.py")
    reload = Reload(setup, list[Program], Console())
    (folder / "func.yaml").write_text(FUNC_YAML.replace("MODEL", str(other / "handler.py")).replace("MORE", "grace_s: 1"))
    started = [reload.step(reload.due) for _ in range(2)]
    (other / "handler.py").write_text((other / "handler.py").read_text() + "# changed\n")
    started += [reload.step(reload.due) for _ in range(2)]
    assert started == [None, [], None, []]


def test_a_folder_with_too_many_files_is_said(
    folder: Path, write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = write(folder, "./handler.py")
    monkeypatch.setattr(Changes.__init__, "__defaults__", (1,))
    Reload(setup, list[Program], Console())
    assert "changes of the rest are not seen" in capsys.readouterr().err


def test_the_first_lines_say_what_runs_each_model_and_why(folder: Path, write: Write) -> None:
    folder.mkdir()
    (folder / "b.onnx").touch()
    setup = write(folder, "./handler.py", "models: [{name: b, uri: ./b.onnx}, {name: c, uri: 's3://bucket/c'}]")
    assert introduction(setup.function, setup.config) == [
        "iris: ./handler.py with python (the name ends in .py), REST v1, v2 and gRPC",
        "model b: ./b.onnx with onnx (the name ends in .onnx)",
        "model c: s3://bucket/c with auto (the handler's log says which runtime, and why, when it has the files)",
    ]


def test_of_many_models_the_first_lines_name_some(folder: Path, write: Write) -> None:
    names = [f"m{number}" for number in range(22)]
    setup = write(folder, "./handler.py", f"models: [{', '.join(f'{{name: {name}, uri: ./handler.py}}' for name in names)}]")
    told = introduction(setup.function, setup.config)
    assert (len(told), told[-1]) == (22, "and 2 more models")
