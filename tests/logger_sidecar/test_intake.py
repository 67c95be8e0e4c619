"""The intake: a ring in shared memory that another process finds as this one left it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.logger_sidecar.intake import FOLDER_BYTES_AT, HEAD_BYTES, MAX_CURSORS, Intake, intake_path
from kfunc.logger_sidecar.lanes import claim_lane
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import Origin
from kfunc.logger_sidecar.rescue import rescue


def let_go(*intakes: Intake) -> None:
    for intake in intakes:
        intake.close(remove=False)


@given(st.lists(st.binary(min_size=1, max_size=700), max_size=40))
def test_what_is_appended_is_read_wherever_the_ring_ends(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    intake = Intake(str(tmp_path_factory.mktemp("ring") / "intake"), 1000, 1)
    intake.start_at(12345, Origin("r"))
    for part in parts:
        start = intake.written
        intake.append(part)
        assert intake.read(start, intake.written) == part
    intake.close(remove=True)


def test_another_process_finds_positions_records_cursors_and_origin(tmp_path: Path) -> None:
    path = str(tmp_path / "intake")
    one = Intake(path, 1000, 7)
    one.start_at(500, Origin("run", "f"))
    one.append(b"abc")
    one.set_cursor(99, 501)
    with pytest.raises(BlockingIOError):  # it lives
        Intake(path, 1000, 7)
    one.unlock()
    other = Intake(path, 1000, 7)
    assert (other.kept, other.drained, other.written, other.cursor(99)) == (True, 500, 503, 501)
    assert (other.read(500, 503), other.origin()) == (b"abc", Origin("run", "f"))
    let_go(one, other)


def test_one_of_another_lane_is_not_taken_for_ours_and_loses_no_record(tmp_path: Path) -> None:
    path = str(tmp_path / "intake")
    one = Intake(path, 1000, 7)
    one.append(b"abc")
    one.unlock()
    with pytest.raises(ValueError, match="another lane"):
        Intake(path, 1000, 8)
    one.set_drained(3)
    other = Intake(path, 1000, 8)
    assert (other.kept, other.written) == (False, 0)
    let_go(one, other)


def test_one_without_a_path_is_memory_of_this_process() -> None:
    intake = Intake("", 1000, 1)
    intake.append(b"abc")
    assert intake.read(0, 3) == b"abc"
    intake.close(remove=True)


def test_one_with_nonsense_in_it_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "intake"
    path.write_bytes(b"\xff" * (HEAD_BYTES + 1000))
    intake = Intake(str(path), 1000, 1)
    assert intake.written == 0
    let_go(intake)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"")
    (tmp_path / "intake").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        Intake(str(tmp_path / "intake"), 1000, 1)


def test_more_cursors_than_it_holds_are_no_error(tmp_path: Path) -> None:
    intake = Intake(str(tmp_path / "intake"), 1000, 1)
    for key in range(1, MAX_CURSORS + 3):
        intake.set_cursor(key, key)
    assert intake.cursor(MAX_CURSORS) == MAX_CURSORS
    assert intake.cursor(MAX_CURSORS + 1) == 0
    let_go(intake)


def test_each_lane_has_an_intake_of_its_own() -> None:
    assert intake_path("/a/0") != intake_path("/a/1")


def test_a_file_that_has_lost_its_name_is_let_go(tmp_path: Path) -> None:
    intake = Intake(str(tmp_path / "intake"), 1 << 16, 0)
    (tmp_path / "intake").unlink()
    intake.close(remove=True)


def clean(shared_memory: Path) -> None:
    lane = claim_lane(str(shared_memory / "spool"))
    rescue(str(shared_memory / "spool"), lane, Notices(lambda reason, calls: None), str(shared_memory))
    lane.release()


@pytest.mark.parametrize(("folder", "is_kept"), [("gone", False), ("here", True), ("", True)])
def test_an_intake_whose_folder_is_gone_is_removed(tmp_path: Path, folder: str, is_kept: bool) -> None:
    (tmp_path / "here").mkdir()
    path = tmp_path / Path(intake_path("x")).name
    intake = Intake(str(path), 1000, 1)
    if folder:
        intake.belong_to(str(tmp_path / folder), 1)
    intake.unlock()
    clean(tmp_path)
    assert path.exists() == is_kept


def test_what_is_not_an_intake_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / Path(intake_path("x")).name
    path.write_bytes(b"\0" * FOLDER_BYTES_AT + b"/gone\0")
    clean(tmp_path)
    assert path.exists()
