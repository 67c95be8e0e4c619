import os
from pathlib import Path

import pytest

from kfunc.cli.changes import Changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "handler.py").write_text("a")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.npy").write_text("1")
    return tmp_path


def told(changes: Changes) -> list[str]:
    """What is told once all is quiet."""
    return changes.look() or changes.look()


def test_nothing_is_told_while_nothing_changes(folder: Path) -> None:
    assert told(Changes([folder])) == []


def test_a_file_that_is_written_is_told_when_all_is_quiet(folder: Path) -> None:
    changes = Changes([folder])
    (folder / "handler.py").write_text("longer")
    assert changes.look() == []
    (folder / "weights" / "w.npy").write_text("22")
    assert changes.look() == []
    assert changes.look() == [str(folder / "handler.py"), str(folder / "weights" / "w.npy")]
    assert changes.look() == []


def test_files_that_come_go_or_are_replaced_are_told(folder: Path) -> None:
    changes = Changes([folder])
    (folder / "more.py").write_text("x")
    (folder / "weights" / "w.npy").unlink()
    stamp = (folder / "handler.py").stat()
    (folder / "other").write_text("b")
    os.utime(folder / "other", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (folder / "other").rename(folder / "handler.py")
    assert [Path(path).name for path in told(changes)] == ["handler.py", "more.py", "w.npy"]


@pytest.mark.parametrize(
    "name", [".kfunc/spool", ".git/index", "__pycache__/handler.pyc", "node_modules/x.js", "run.log", "a.py~"]
)
def test_what_tools_write_is_no_change(folder: Path, name: str) -> None:
    changes = Changes([folder])
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert told(changes) == []


def test_a_model_elsewhere_is_watched_as_a_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = tmp_path_factory.mktemp("models") / "model.onnx"
    model.write_text("1")
    changes = Changes([folder, model])
    model.write_text("22")
    assert told(changes) == [str(model)]


def test_the_number_of_files_has_a_bound(folder: Path) -> None:
    changes = Changes([folder], most=1)
    (folder / "weights" / "w.npy").write_text("22")
    assert told(changes) == []
