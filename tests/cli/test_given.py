"""What a user may give as a request: files of numpy, besides the JSON that test_invoke.py has."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kfunc.cli.given import Arrays, Picture, read_given
from kfunc.errors import StartupError


def saved(folder: Path, **arrays: Any) -> Path:
    """One array as .npy, several as .npz."""
    path = folder / "given"
    with path.open("wb") as file:
        if list(arrays) == ["only"]:
            np.save(file, arrays["only"], allow_pickle=True)
        else:
            np.savez(file, **arrays)
    return path


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[1, 2]], np.float32), [[1.0, 2.0]]),
        (np.array([2**64 - 1], np.uint64), [2**64 - 1]),
        (np.array([True]), [True]),
        (np.array(["é"]), ["é"]),
        (np.array([b"a"]), ["a"]),
        (np.array(3), [3]),
        (np.zeros((0, 2)), []),
    ],
)
def test_an_array_of_a_file_is_a_nested_list(tmp_path: Path, array: Any, expected: list[Any]) -> None:
    assert read_given(None, saved(tmp_path, only=array)) == expected


def test_the_file_may_be_named_in_data(tmp_path: Path) -> None:
    assert read_given(f"@{saved(tmp_path, only=np.array([1]))}", None) == [1]


def test_several_arrays_have_their_names(tmp_path: Path) -> None:
    given = read_given(None, saved(tmp_path, a=np.array([1]), b=np.array([[2.5]])))
    assert type(given) is Arrays
    assert given == {"a": [1], "b": [[2.5]]}


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{"a": 1}], object), "not one that numpy.save wrote"),
        (np.array([1 + 2j]), "an array of complex128"),
        (np.array(["2026-01-01"], "datetime64[D]"), "an array of datetime64"),
    ],
)
def test_a_pickle_or_an_array_of_no_datatype_is_refused(tmp_path: Path, array: Any, words: str) -> None:
    with pytest.raises(StartupError, match=words):
        read_given(None, saved(tmp_path, only=array))


@pytest.mark.parametrize("content", [b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{'descr'", b"PK\x03\x04 broken", b"PK"])
def test_a_broken_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(StartupError) as caught:
        read_given(None, path)
    assert len(caught.value.message.splitlines()) == 1


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, np.arange(100))
    path = tmp_path / "cut"
    path.write_bytes(whole.getvalue()[:-10])
    with pytest.raises(StartupError, match="numpy"):
        read_given(None, path)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"BM6", "image/bmp"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_a_picture_is_known_by_how_it_begins_whatever_its_name(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "cat").write_bytes(start + b"more")
    assert read_given(None, tmp_path / "cat") == Picture(start + b"more", kind)


@pytest.mark.parametrize("start", [b"II*\0", b"\0\0\0\x1cftypheic"])
def test_a_picture_that_is_not_read_is_told_what_would_be(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "cat").write_bytes(start)
    with pytest.raises(StartupError, match="of another kind than JPEG, PNG, WEBP, GIF and BMP: convert it"):
        read_given(None, tmp_path / "cat")
