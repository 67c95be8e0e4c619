"""Images in files: what a layout and an archive may not do."""

import json
from pathlib import Path

import pytest

from kfunc.errors import BuildError, StartupError
from kfunc.images.documents import CONFIG, MANIFEST, Descriptor, artifact, encode, read_descriptor
from kfunc.images.layouts import Layout, Loadable, write_docker_archive, write_layout
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


def write_image(folder: Path, store: Store, name: str, content: bytes) -> list[str]:
    """An image with a list of contents into a layout: what is in the layout then."""
    image = store.add(content, MANIFEST)
    subject = Descriptor(MANIFEST, image.digest, image.size)
    attached = store.add(encode(artifact("text/plain", [], subject, {})), MANIFEST)
    roots = [subject, Descriptor(MANIFEST, attached.digest, attached.size, None, "text/plain")]
    write_layout(folder, roots, [image, attached], name)
    listed = json.loads((folder / "index.json").read_text())["manifests"]
    return [(each.get("annotations") or {}).get("io.containerd.image.name", "attached") for each in listed]


def test_an_image_in_a_layout_replaces_those_of_its_name_with_what_is_attached_to_them(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "layout"
    write_image(folder, store, "a.io/one:1", b'{"a": 1}')
    assert write_image(folder, store, "a.io/two:1", b'{"a": 2}') == ["a.io/one:1", "attached", "a.io/two:1", "attached"]
    assert write_image(folder, store, "a.io/one:1", b'{"a": 3}') == ["a.io/two:1", "attached", "a.io/one:1", "attached"]
    assert not list(folder.rglob("*.new"))


def test_of_several_images_the_tag_says_which(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "layout"
    for tag in ("1", "2"):
        write_image(folder, store, f"a.io/one:{tag}", b'{"a": %s}' % tag.encode())
    assert Layout(folder, "2").manifest("")[1] == b'{"a": 2}'
    for tag in ("", "3"):
        with pytest.raises(StartupError, match=r"Name one, as oci:.*layout:1, oci:.*layout:2"):
            Layout(folder, tag).manifest("")
