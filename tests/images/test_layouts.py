"""Images in files: what a layout and an archive may not do."""

from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.documents import CONFIG, read_descriptor
from kfunc.images.layouts import Layout, Loadable, write_docker_archive
from kfunc.images.store import Store
from tests.images.fakes import write_base


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(write_base(tmp_path / "layout"))


def test_a_document_of_another_digest_is_refused(layout: Layout) -> None:
    only, _ = layout.manifest("")
    (layout.folder / "blobs" / only.digest.replace(":", "/")).write_bytes(b"{}")
    for wanted in ("", only.digest):
        with pytest.raises(BuildError, match="is damaged: its digest is another; write the layout anew"):
            layout.manifest(wanted)


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>"])
def test_a_layout_that_is_no_json_is_refused(layout: Layout, content: bytes) -> None:
    (layout.folder / "index.json").write_bytes(content)
    with pytest.raises(BuildError, match="a document of it is no JSON; write it anew"):
        layout.manifest("")


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 64, None, 1])
def test_a_digest_that_is_none_is_refused(digest: object) -> None:
    with pytest.raises(BuildError, match="is no image as OCI and Docker have them"):
        read_descriptor({"mediaType": CONFIG, "digest": digest, "size": 1}, "base")


def test_an_archive_below_a_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = Store(tmp_path / "cache").add(b"{}", CONFIG)
    with pytest.raises(BuildError, match=r"cannot write to .*; choose another place"):
        write_docker_archive(tmp_path / "file/x.tar", Loadable(config, []), "x:1")
