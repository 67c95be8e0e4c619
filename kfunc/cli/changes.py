"""Which files of a function have changed, by looking at them now and then."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

INTERVAL_S = 0.4
MOST_FILES = 20_000
SKIPPED = {"__pycache__", "node_modules", "venv"}
SUFFIXES_SKIPPED = (".pyc", ".log", "~", ".swp", ".tmp")

Stamp = tuple[int, int, int]


class Changes:
    """Files below `folders`, hidden ones and those of tools apart. A change counts once all is quiet for one look."""

    def __init__(self, folders: Iterable[Path], most: int = MOST_FILES) -> None:
        self._folders = list(folders)
        self._most = most
        self._seen = self._look()
        self._unquiet: set[str] = set()

    def look(self) -> list[str]:
        """The paths that changed, came or went since they were told last; empty while more may follow."""
        found = self._look()
        changed = {path for path in found.keys() | self._seen.keys() if found.get(path) != self._seen.get(path)}
        self._seen = found
        if changed:
            self._unquiet |= changed
            return []
        told, self._unquiet = sorted(self._unquiet), set()
        return told

    def _look(self) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        for folder in self._folders:
            for entry in _files(str(folder)):
                if len(stamps) >= self._most:
                    return stamps
                stamps[entry] = _stamp(entry)
        return stamps


def _files(folder: str) -> Iterator[str]:
    todo = [folder]
    while todo:
        path = todo.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except NotADirectoryError:
            yield path
            continue
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SKIPPED or entry.name.endswith(SUFFIXES_SKIPPED):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.append(entry.path)
            else:
                yield entry.path


def _stamp(path: str) -> Stamp:
    """What changes with the content: editors write in place, or put another file there."""
    try:
        told = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (told.st_mtime_ns, told.st_size, told.st_ino)
