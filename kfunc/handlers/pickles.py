"""Which files of a folder are pickles, by their names and by their first bytes: opening one runs whatever is in it."""

import zipfile
from pathlib import Path

SUFFIXES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".pt", ".pth")
PROTOCOLS = tuple(bytes((0x80, number)) for number in range(2, 6))
MEMBER = "data.pkl"  # of the zip files that torch.save writes


def find_pickles(folder: Path) -> list[Path]:
    """The pickles below a folder, links and all."""
    return [each for each in sorted(folder.rglob("*")) if each.is_file() and is_pickle(each)]


def is_pickle(file: Path) -> bool:
    """Whether a file is a pickle, or has one in it."""
    if file.suffix.lower() in SUFFIXES:
        return True
    with file.open("rb") as content:
        head = content.read(2)
    if head.startswith(PROTOCOLS):
        return True
    if head == b"PK" and zipfile.is_zipfile(file):
        from kfunc.storage.zips import open_zip

        with open_zip(file) as archive:
            return any(name.rpartition("/")[2] == MEMBER for name in archive.namelist())
    return False
