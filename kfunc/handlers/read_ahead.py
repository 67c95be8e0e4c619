"""Has the kernel read a model's files while its runtime is imported, so that a cold start takes the longer of both times."""

import os
import threading
from pathlib import Path

LEAST_BYTES = 1024 * 1024  # a smaller file is read at once anyway
CHUNK_BYTES = 8 * 1024 * 1024


def read_ahead(path: Path) -> None:
    """Start it and return; a file that cannot be read is for the runtime to complain about."""
    if not hasattr(os, "posix_fadvise"):
        return
    large = large_files(path)
    if large:
        threading.Thread(target=_read, args=(large,), daemon=True, name="read-ahead").start()


def large_files(path: Path) -> list[Path]:
    """The file, or those below the folder; what is hidden, as .git and .venv, is no model's."""
    found = [path] if path.is_file() else []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        found += [Path(folder, name) for name in sorted(names)]
    return [each for each in found if each.is_file() and each.stat().st_size >= LEAST_BYTES]


def _read(files: list[Path]) -> None:
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except OSError:
            continue
        try:
            for offset in range(0, os.fstat(descriptor).st_size, CHUNK_BYTES):
                os.posix_fadvise(descriptor, offset, CHUNK_BYTES, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
