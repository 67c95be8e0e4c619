"""What the user gives as a request: JSON, arrays in numpy's files, a picture. Raises StartupError for what is none of these."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.errors import StartupError
from kfunc.protocol.pictures import kind_of


class Arrays(dict[str, Any]):
    """Nested lists by input name."""


class Picture(Struct, frozen=True):
    """A picture's file, and its media type."""

    content: bytes
    kind: str


NPY, NPZ = b"\x93NUMPY", b"PK"
TIFF = (b"II*\0", b"MM\0*")


def read_given(data: str | None, file: Path | None) -> Any:
    """An object (a whole request, or arrays by input name as `Arrays`), an array as nested lists, a Picture, or None."""
    if data is None and file is None:
        return None
    try:
        if file is not None or (data is not None and data.startswith("@")):
            source = file or Path(str(data)[1:])
            content = source.read_bytes()
        else:
            content = sys.stdin.buffer.read() if data == "-" else str(data).encode()
        if kind := kind_of(content):
            return Picture(content, kind)
        if content.startswith(TIFF) or content[4:8] == b"ftyp":  # HEIC, AVIF
            raise StartupError(
                "the file is a picture of another kind than JPEG, PNG, WEBP, GIF and BMP: convert it to one of them"
            )
        value = _arrays(content) if content.startswith((NPY, NPZ)) else msgspec.json.decode(content)
    except OSError as error:
        raise StartupError(f"cannot read {error.filename}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise StartupError(f"the request is not JSON: {error}") from None
    if not isinstance(value, dict | list):
        raise StartupError("the request must be a JSON object or an array")
    return value


def is_whole(given: Any) -> bool:
    """Whether it is a request, not only its arrays."""
    return isinstance(given, dict) and not isinstance(given, Arrays)


def _arrays(content: bytes) -> Any:
    """An .npy file's array, or an .npz file's by name; never a pickle."""
    from io import BytesIO

    import numpy as np

    try:
        loaded = np.load(BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _listed(loaded)
        return Arrays({name: _listed(loaded[name]) for name in loaded.files})
    except (ValueError, EOFError, KeyError, OSError) as error:
        raise StartupError(f"the file is not one that numpy.save wrote: {error}") from None
    except Exception as error:  # zipfile has errors of its own
        raise StartupError(f"the file cannot be read: {error}") from None


def _listed(array: Any) -> Any:
    if array.dtype.kind not in "biufUS":
        raise StartupError(f"the file holds an array of {array.dtype}, which is no datatype of the protocol")
    values = array.astype("U").tolist() if array.dtype.kind == "S" else array.tolist()
    return values if isinstance(values, list) else [values]
