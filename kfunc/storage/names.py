"""Names that come from elsewhere, of objects and of archives' members: which may become paths, and what may be told. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from kfunc.errors import ModelLoadError

LONGEST_NAME = 255  # bytes, of Linux's file systems
DEEPEST = 32
MANY = 100_000


def safe_path(name: str, origin: str) -> PurePosixPath:
    """A relative path within the model's folder. Raises ModelLoadError with `origin`, where the name came from."""
    parts = name.split("/")
    problem = ""
    if not name or name.startswith("/") or "\\" in name or ":" in parts[0]:
        problem = "a relative path with / is expected"
    elif any(part in ("", ".", "..") for part in parts):
        problem = 'it has an empty part, "." or ".."'
    elif not name.isprintable():
        problem = "it has control characters"
    elif len(parts) > DEEPEST or any(len(part.encode(errors="surrogateescape")) > LONGEST_NAME for part in parts):
        problem = f"it is deeper than {DEEPEST} folders, or longer than {LONGEST_NAME} bytes"
    if problem:
        raise ModelLoadError(f"{origin}: refuses the name {name[:200]!r}: {problem}")
    return PurePosixPath(name)


class Names:
    """Collects the names of one model: each once, also on disks that do not tell a from A, and not too many."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, name: str, *, folder: bool = False) -> PurePosixPath:
        """The path of one more. Raises ModelLoadError."""
        path = safe_path(name, self._origin)
        folded = name.casefold()
        above = {str(parent).casefold() for parent in path.parents} - {"."}
        if folder:
            above.add(folded)
        if (not folder and (folded in self._files or folded in self._folders)) or above & self._files:
            raise ModelLoadError(f"{self._origin}: the name {name[:200]!r} is there twice, or differs by case only")
        self._folders |= above
        if not folder:
            self._files.add(folded)
        if len(self._files) + len(self._folders) > MANY:
            raise ModelLoadError(f"{self._origin}: holds more than {MANY} files")
        return path


def wanted(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file is among those that `model.files` asks for; without patterns all are."""
    given = list(patterns)
    return not given or any(fnmatch(name, pattern) or fnmatch(name.rpartition("/")[2], pattern) for pattern in given)


def shown(uri: str) -> str:
    """A URI without user, password and query, where signatures are."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else uri.partition("?")[0]
