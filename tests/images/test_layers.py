"""Layers: bytes that depend on names, modes and contents alone."""

import gzip
import io
import os
import tarfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from kfunc.errors import BuildError
from kfunc.images.layers import Entry, Form, Layer, Member, content_digest, write_layer
from kfunc.images.store import Store


def read(layer: Layer) -> tarfile.TarFile:
    data = layer.blob.path.read_bytes()
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data))


def test_entries_in_any_order_with_any_times_give_the_same_layer(tmp_path: Path, store: Store) -> None:
    layers = []
    for number, names in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
            os.utime(folder / name, (number, number * 10**9))
        layers.append(write_layer(store, [Entry(f"x/{name}", folder / name) for name in names], "test"))
    assert layers[0] == layers[1]


def test_folders_stand_before_what_is_in_them_and_nothing_has_an_owner_or_a_time(store: Store) -> None:
    layer = write_layer(store, [Entry("a/b/c", b"1"), Entry("a/d", b"2", executable=True), Entry("a/e", link="d")], "test")
    with read(layer) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["a", "a/b", "a/b/c", "a/d", "a/e"]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    assert [oct(member.mode) for member in members] == ["0o755", "0o755", "0o644", "0o755", "0o777"]


@pytest.mark.parametrize("form", ["gzip", "plain"])
def test_the_diff_id_is_the_digest_of_the_tar_file(store: Store, form: Form) -> None:
    layer = write_layer(store, [Entry("a", b"x" * 100_000)], "test", form)
    assert (layer.diff_id == layer.blob.digest) is (form == "plain")
    with read(layer) as archive:
        assert archive.extractfile("a").read() == b"x" * 100_000  # type: ignore[union-attr]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, store: Store) -> None:
    with pytest.raises(BuildError, match=r"cannot read .*nothing: No such file"):
        write_layer(store, [Entry("a", tmp_path / "nothing")], "test")


def test_a_damaged_archive_is_named(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.whl").write_bytes(b"no zip")
    with pytest.raises(BuildError, match=r"a\.whl is damaged"):
        write_layer(store, [Entry("a", Member(tmp_path / "a.whl", "a"))], "test")


def test_a_file_that_is_written_meanwhile_is_an_error(tmp_path: Path, store: Store) -> None:
    (tmp_path / "model").write_bytes(b"AAAA")
    known = {"a": content_digest(tmp_path / "model")}
    (tmp_path / "model").write_bytes(b"BBBB")
    with pytest.raises(BuildError, match="a changed while it was read: build again"):
        write_layer(store, [Entry("a", tmp_path / "model")], "test", known=known)


def test_a_damaged_member_is_named(tmp_path: Path, store: Store) -> None:
    with ZipFile(tmp_path / "a.whl", "w", ZIP_DEFLATED) as archive:
        archive.writestr("a", os.urandom(1000))
    content = bytearray((tmp_path / "a.whl").read_bytes())
    content[31:60] = b"\xff" * 29
    (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(BuildError, match=r"a\.whl is damaged"):
        write_layer(store, [Entry("a", Member(tmp_path / "a.whl", "a"))], "test")


def test_a_failure_leaves_nothing_in_the_store(tmp_path: Path, store: Store) -> None:
    with pytest.raises(BuildError):
        write_layer(store, [Entry("a", tmp_path / "nothing")], "test")
    assert list((tmp_path / "cache/blobs").iterdir()) == []
