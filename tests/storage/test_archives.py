"""Archives: good ones are unpacked, and each way to harm is refused with the archive's name and the reason."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from kfunc.errors import ModelLoadError
from kfunc.storage.archives import BOMB_FLOOR, is_archive, unpack
from kfunc.storage.progress import Progress

Make = Callable[[tarfile.TarFile], None]


def plain(name: str, content: bytes = b"x") -> Make:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))

    return add


def special(name: str, kind: bytes, target: str = "") -> Make:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    return add


def tar(path: Path, *members: Make, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            member(archive)
    return path


def unpacked(archive: Path, root: str = "") -> dict[str, bytes]:
    target = archive.parent / "out"
    unpack(archive, target, lambda count: True, Progress(), root)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_in_any_compression(tmp_path: Path, mode: str) -> None:
    archive = tar(tmp_path / "m.tar", plain("./a/m.onnx", b"model"), special("b", tarfile.DIRTYPE), mode=mode)
    assert unpacked(archive) == {"a/m.onnx": b"model"}


def test_a_tar_in_zstd_is_unpacked(tmp_path: Path) -> None:
    inner = tar(tmp_path / "m.tar", plain("m.onnx", b"model"), mode="w")
    archive = tmp_path / "m.tar.zst"
    archive.write_bytes(zstandard.compress(inner.read_bytes()))
    assert unpacked(archive) == {"m.onnx": b"model"}


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/m.onnx", b"model")
    assert unpacked(tmp_path / "m.zip") == {"a/m.onnx": b"model"}


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (plain("../m"), r'empty part, "\." or "\.\."'),
        (plain("a/../../m"), r'empty part, "\." or "\.\."'),
        (plain("/etc/passwd"), "a relative path"),
        (plain("C:/m"), "a relative path"),
        (plain("a\\m"), "a relative path"),
        (plain("a\nm"), "control characters"),
        (plain("a/" * 40 + "m"), "deeper than 32 folders"),
        (plain("m" * 256), "longer than 255 bytes"),
        (special("m", tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
        (special("m", tarfile.LNKTYPE, "a"), "is a hard link"),
        (special("m", tarfile.CHRTYPE), "is a device"),
        (special("m", tarfile.BLKTYPE), "is a device"),
        (special("m", tarfile.FIFOTYPE), "is a device, a pipe"),
    ],
)
def test_a_member_that_is_no_plain_file_of_the_folder_is_refused(tmp_path: Path, member: Make, reason: str) -> None:
    archive = tar(tmp_path / "evil.tar.gz", plain("good"), member)
    with pytest.raises(ModelLoadError, match=rf"evil\.tar\.gz: .*{reason}"):
        unpacked(archive)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz", "out"]


@pytest.mark.parametrize("names", [("Model.onnx", "model.onnx"), ("a", "a"), ("a", "a/b"), ("a/b", "A")])
def test_names_that_meet_on_some_disk_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ModelLoadError, match="is there twice, or differs by case only"):
        unpacked(tar(tmp_path / "m.tar", *map(plain, names)))


@pytest.mark.parametrize("name", ["bomb.tar.gz", "bomb.zip"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / name, bytes(BOMB_FLOOR + 2 * 1024 * 1024)
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", content)
    else:
        tar(path, plain("zeros", content))
    with pytest.raises(ModelLoadError, match="an archive may become 100 times its size"):
        unpacked(path)
    assert sum(each.stat().st_size for each in (tmp_path / "out").iterdir()) <= BOMB_FLOOR


def test_a_zip_with_a_link_or_a_password_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ModelLoadError, match="'link' is a link or a device"):
        unpacked(tmp_path / "m.zip")


def test_a_zip_whose_directory_would_fill_the_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    count, entries = 200_000, bytearray()
    for number in range(count):
        name = b"%x" % number
        entries += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), *[0] * 6) + name
    wide = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, len(entries), 0)
    where = struct.pack("<IIQI", 0x07064B50, 0, len(entries), 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "m.zip").write_bytes(bytes(entries) + wide + where + end)
    with pytest.raises(ModelLoadError, match=r"m\.zip: a zip file with a directory of 200000 files, \d+ bytes; at most 100000"):
        unpacked(tmp_path / "m.zip")


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz", "m.zip", "m.tar.zst", "m.tar.xz"])
@pytest.mark.parametrize("cut", ["noise", "truncated"])
def test_what_is_no_archive_or_cut_off_is_refused(tmp_path: Path, name: str, cut: str) -> None:
    path = tmp_path / name
    whole = tar(tmp_path / "whole", plain("m", bytes(range(256)) * 400), mode="w" if name.endswith(("tar", "zst")) else "w:gz")
    content = zstandard.compress(whole.read_bytes()) if name.endswith("zst") else whole.read_bytes()
    path.write_bytes(b"no archive" * 100 if cut == "noise" else content[: len(content) // 2])
    with pytest.raises(ModelLoadError, match=name.replace(".", r"\.")):
        unpacked(path)


def test_of_an_image_s_layer_only_the_models_count(tmp_path: Path) -> None:
    layer = tar(tmp_path / "layer.tar", special("bin/sh", tarfile.SYMTYPE, "busybox"), plain("models/1/m.onnx"), plain("etc/x"))
    assert unpacked(layer, "models") == {"models/1/m.onnx": b"x"}


def test_a_layer_takes_away_what_a_lower_one_has(tmp_path: Path) -> None:
    lower = tar(tmp_path / "lower.tar", plain("models/a"), plain("models/b/c"))
    upper = tar(tmp_path / "upper.tar", plain("models/.wh.a"), plain("models/b/.wh..wh..opq"), plain("models/d", b"new"))
    unpacked(lower, "models")
    assert unpacked(upper, "models") == {"models/d": b"new"}


@pytest.mark.parametrize(
    ("name", "answer"), [("m.TAR.GZ", True), ("m.tgz", True), ("m.zip", True), ("m.onnx", False), ("m.pt", False)]
)
def test_archives_are_known_by_their_names(name: str, answer: bool) -> None:
    assert is_archive(name) is answer


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("w", slice(1024)),  # at the boundary of a member
        ("w", slice(1300)),  # within a header
        ("w", slice(1700)),  # within a member
        ("w:gz", slice(-8)),  # without CRC and length
        ("w:gz", slice(-1)),
        ("w:gz", slice(-20)),
        ("w:bz2", slice(-4)),
        ("w:xz", slice(-12)),
    ],
)
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, mode: str, kept: slice) -> None:
    archive = tar(tmp_path / "m.tar", *(plain(f"{name}.txt") for name in "abc"), mode=mode)
    archive.write_bytes(archive.read_bytes()[kept])
    with pytest.raises(ModelLoadError, match=r"^m.tar: .*(cut off|unexpected end of data)"):
        unpacked(archive)


def test_a_tar_in_zstd_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    inner = tar(tmp_path / "m.tar", *(plain(f"{name}.txt") for name in "abc"), mode="w").read_bytes()
    archive = tmp_path / "m.tar.zst"
    archive.write_bytes(zstandard.compress(inner[:1024]))
    with pytest.raises(ModelLoadError, match=r"^m.tar.zst: the archive is cut off"):
        unpacked(archive)


def test_a_gzip_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "m.tar.gz", plain("a.txt"))
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"^m.tar.gz: .*CRC"):
        unpacked(archive)


def long_name(size: int, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> Make:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = kind, size
        tar.addfile(info, io.BytesIO(b"a" * size))

    return add


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("sizes", [(2 * 1024 * 1024,), (600_000, 600_000)])
def test_names_and_attributes_that_would_fill_the_memory_are_refused_unread(
    tmp_path: Path, kind: bytes, sizes: tuple[int, ...]
) -> None:
    content = [long_name(size, kind) for size in sizes]
    with pytest.raises(ModelLoadError, match=r"m\.tar: is not an archive that can be read: "):
        unpacked(tar(tmp_path / "m.tar", *content, plain("a"), mode="w"))


def test_long_names_are_read(tmp_path: Path) -> None:
    names = [f"{'folder/' * 20}{number}" for number in range(3)]
    assert sorted(unpacked(tar(tmp_path / "m.tar", *map(plain, names)))) == names


@pytest.mark.parametrize("root", ["", "models"])
def test_a_member_that_claims_more_than_the_archive_can_hold_is_refused_at_once(tmp_path: Path, root: str) -> None:
    info = tarfile.TarInfo("etc/x")
    info.size = 2**58
    (tmp_path / "m.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ModelLoadError, match=r"m\.tar: becomes too large"):
        unpacked(tmp_path / "m.tar", root)


def test_what_is_passed_over_counts_as_well(tmp_path: Path) -> None:
    content = bytes(BOMB_FLOOR // 2 + 1)
    with pytest.raises(ModelLoadError, match=r"layer\.tar: becomes too large"):
        unpacked(tar(tmp_path / "layer.tar", plain("etc/a", content), plain("etc/b", content)), "models")


@pytest.mark.parametrize("name", ["models/.wh...", "models/.wh.", "models/a/.wh.."])
def test_a_layer_takes_away_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out/models").mkdir(parents=True)
    (tmp_path / "out/other").write_bytes(b"x")
    with pytest.raises(ModelLoadError, match="takes away no file of its folder"):
        unpacked(tar(tmp_path / "layer.tar", plain(name, b"")), "models")
    assert (tmp_path / "out/other").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_zip_with_broken_data_is_told_as_such(tmp_path: Path, method: int) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("m.onnx", b"abc" * 5000)
    content = bytearray(path.read_bytes())
    content[50:60] = b"\xff" * 10
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"m\.zip: is not an archive that can be read"):
        unpacked(path)
