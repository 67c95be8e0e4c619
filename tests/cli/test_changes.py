import os
from pathlib import Path

import pytest

from kfunc.cli.changes import MOST_LOOKS, Changes, Watched


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
    assert told(Changes(Watched([folder]))) == []


def test_a_file_that_is_written_is_told_when_all_is_quiet(folder: Path) -> None:
    changes = Changes(Watched([folder]))
    (folder / "handler.py").write_text("longer")
    assert changes.look() == []
    (folder / "weights" / "w.npy").write_text("22")
    assert changes.look() == []
    assert changes.look() == [str(folder / "handler.py"), str(folder / "weights" / "w.npy")]
    assert changes.look() == []


def test_files_that_come_go_or_are_replaced_are_told(folder: Path) -> None:
    changes = Changes(Watched([folder]))
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
    changes = Changes(Watched([folder]))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert told(changes) == []


def test_a_model_elsewhere_is_watched_as_a_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = tmp_path_factory.mktemp("models") / "model.onnx"
    model.write_text("1")
    changes = Changes(Watched([folder, model]))
    model.write_text("22")
    assert told(changes) == [str(model)]


def test_a_file_that_grows_all_the_time_keeps_no_other_waiting(folder: Path) -> None:
    changes = Changes(Watched([folder]))
    (folder / "handler.py").write_text("longer")
    looks: list[str] = []
    for number in range(MOST_LOOKS + 2):
        (folder / "events.jsonl").write_text("x" * (number + 1))
        looks += changes.look()
    assert looks == [str(folder / "handler.py")]
    assert changes.look() == [str(folder / "events.jsonl")]


@pytest.mark.parametrize(("name", "seen"), [("events.jsonl", []), ("events.jsonl.1", []), ("events.py", ["events.py"])])
def test_what_the_function_writes_itself_is_no_change(folder: Path, name: str, seen: list[str]) -> None:
    changes = Changes(Watched([folder], [folder / "events.jsonl", folder / "spool"]))
    (folder / "spool").mkdir()
    (folder / "spool" / "1").write_text("x")
    (folder / name).write_text("x")
    assert [Path(path).name for path in told(changes)] == seen


def test_other_places_are_watched_without_missing_a_change_of_those_before(folder: Path) -> None:
    model, other = folder / "weights" / "w.npy", folder.with_name("other.onnx")
    changes = Changes(Watched([folder / "handler.py", model]))
    (folder / "handler.py").write_text("longer")
    other.write_text("1")
    changes.watch(Watched([folder / "handler.py", other]))
    model.write_text("22")
    assert told(changes) == [str(folder / "handler.py")]
    other.write_text("22")
    assert told(changes) == [str(other)]


def test_the_number_of_files_has_a_bound(folder: Path) -> None:
    assert Changes(Watched([folder])).complete
    changes = Changes(Watched([folder]), most=1)
    assert not changes.complete
    (folder / "weights" / "w.npy").write_text("22")
    assert told(changes) == []
