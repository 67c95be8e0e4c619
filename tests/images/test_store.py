"""The store: what it keeps, what it refuses, what it forgets."""

import os
from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.store import KEPT_S, Store, open_store
from kfunc.images.uploads import Session


def test_a_blob_is_found_by_its_digest(store: Store) -> None:
    blob = store.add(b"data", "text/plain")
    assert store.find(blob.digest, "text/plain", 4) == blob
    assert store.find("sha256:" + "0" * 64, "text/plain", 4) is None


def test_a_blob_that_lost_its_end_is_not_there(store: Store) -> None:
    blob = store.add(b"data", "text/plain")
    blob.path.write_bytes(b"")
    assert store.find(blob.digest, "text/plain", 4) is None
    assert not blob.path.exists()


def test_without_a_home_the_store_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_store({})
    assert [path.name for path in tmp_path.iterdir()] == [f"kfunc-{os.getuid()}"]


def test_another_content_than_expected_is_refused_and_not_kept(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="damaged; try again"), store.writing("text/plain", "sha256:" + "0" * 64) as file:
        file.write(b"data")
    assert list((tmp_path / "cache/blobs").iterdir()) == []


def test_a_note_is_remembered_until_it_is_forgotten(store: Store) -> None:
    store.note("upload", Session("http://a", 5))
    assert store.noted("upload", Session) == Session("http://a", 5)
    store.forget("upload")
    assert store.noted("upload", Session) is None


def test_notes_whose_names_begin_alike_are_written_apart(store: Store, tmp_path: Path) -> None:
    (tmp_path / "cache/notes/a.new").mkdir()
    store.note("a.first", Session("http://a"))
    assert store.noted("a.first", Session) == Session("http://a")


def test_what_nothing_has_used_for_a_month_is_removed(store: Store) -> None:
    old, new = store.add(b"old", "a"), store.add(b"new", "a")
    os.utime(old.path, (1000, 1000))
    store.prune(new.path.stat().st_mtime + KEPT_S - 10)
    assert (store.find(old.digest, "a", 3), store.find(new.digest, "a", 3)) == (None, new)


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="set KFUNC_CACHE to another folder"):
        open_store({"KFUNC_CACHE": str(tmp_path / "file")})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
def test_a_full_disk_is_an_error_that_says_what_to_do(store: Store) -> None:
    full = pytest.raises(BuildError, match="No space left on device; make room there")
    with full, store.writing("text/plain") as file:
        file._file.close()
        file._file = open("/dev/full", "wb")  # noqa: SIM115
        file.write(b"data" * 10_000)
