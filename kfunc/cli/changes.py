"""Which files of a function have changed, by looking at them now and then."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INTERVAL_S = 0.4
MOST_FILES = 20_000
MOST_LOOKS = 5
"""A file that changes in more looks than that, one after another, is not waited for."""
SKIPPED = {"__pycache__", "node_modules", "venv"}
SUFFIXES_SKIPPED = (".pyc", ".log", "~", ".swp", ".tmp")

Stamp = tuple[int, int, int]


class Watched(NamedTuple):
    """Folders and files to look at; and of what is below them the files and folders that the function itself writes,
    a file also after it was rotated."""

    places: list[Path]
    own: list[Path] = []


class Changes:
    """Files of `watched`, hidden ones and those of tools apart. Changes count once all is quiet for one look; a file that
    is written in each look, as a log is, keeps nobody waiting for long.
    """

    def __init__(self, watched: Watched, most: int = MOST_FILES) -> None:
        self._watched = watched
        self._most = most
        self._complete = True
        self._seen = self._look()
        self._unquiet: dict[str, int] = {}  # in how many looks each path had changed since it was told last

    @property
    def complete(self) -> bool:
        """Whether there are no more files than are looked at."""
        return self._complete

    def watch(self, watched: Watched) -> None:
        """Look at these from now on; of those that were looked at before no change is missed."""
        self._watched = watched
        before = {
            path: stamp
            for path, stamp in self._seen.items()
            if any(_has(str(place), path) for place in watched.places) and not self._is_own(path)
        }
        self._seen = self._look() | before

    def look(self) -> list[str]:
        """The paths that changed, came or went since they were told last; empty while more may follow."""
        found = self._look()
        changed = {path for path in found.keys() | self._seen.keys() if found.get(path) != self._seen.get(path)}
        self._seen = found
        for path in changed:
            self._unquiet[path] = self._unquiet.get(path, 0) + 1
        if any(self._unquiet[path] <= MOST_LOOKS for path in changed):
            return []
        told = sorted(self._unquiet.keys() - changed)
        for path in told:
            del self._unquiet[path]
        return told

    def _look(self) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        self._complete = True
        for place in self._watched.places:
            for entry in _files(str(place)):
                if self._is_own(entry):
                    continue
                if len(stamps) >= self._most:
                    self._complete = False
                    return stamps
                stamps[entry] = _stamp(entry)
        return stamps

    def _is_own(self, path: str) -> bool:
        return any(_has(str(own), path, "/.") for own in self._watched.own)


def _has(place: str, path: str, marks: str = "/") -> bool:
    """Whether a path is that place, or begins with it and one of the marks."""
    place = place.rstrip("/")
    return path.startswith(place) and (len(path) == len(place) or path[len(place)] in marks)


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
