"""Opens zip files: the directory at their end is read into memory as a whole, so that its size is asked first."""

from pathlib import Path
from zipfile import _ECD_ENTRIES_TOTAL, _ECD_SIZE, ZipFile, _EndRecData  # type: ignore[attr-defined]

from kfunc.errors import ModelLoadError
from kfunc.storage.names import MANY

MOST_BYTES = 16 * 1024 * 1024
"""Of a directory: 160 for each of MANY files; what it becomes in memory is some ten times as much."""


def open_zip(path: Path) -> ZipFile:
    """The archive, to be closed by the caller. Raises BadZipFile, OSError, and ModelLoadError for too large a directory."""
    with path.open("rb") as file:
        end = _EndRecData(file)
    if end is not None and (end[_ECD_ENTRIES_TOTAL] > MANY or end[_ECD_SIZE] > MOST_BYTES):
        raise ModelLoadError(
            f"{path.name}: a zip file with a directory of {end[_ECD_ENTRIES_TOTAL]} files, {end[_ECD_SIZE]} bytes; "
            f"at most {MANY} files and {MOST_BYTES} bytes are read: pack fewer files, or as tar"
        )
    return ZipFile(path)
