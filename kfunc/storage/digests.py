"""sha256 of what was downloaded: a file's own, and a folder's, of its files' digests and names."""

import hashlib
from pathlib import Path

from kfunc.errors import ModelLoadError
from kfunc.storage.progress import Progress

BLOCK = 4 * 1024 * 1024


def file_digest(path: Path, progress: Progress) -> str:
    """In hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            progress.add(len(block))
    return digest.hexdigest()


def folder_digest(folder: Path, progress: Progress) -> str:
    """Of the lines that `find -L . -type f | LC_ALL=C sort | xargs sha256sum` prints in the folder, without the `./`.

    Raises ModelLoadError for a link to a folder: what it leads to would not be in the digest.
    """
    lines = "".join(f"{file_digest(folder / name, progress)}  {name}\n" for name in files_below(folder))
    return hashlib.sha256(lines.encode()).hexdigest()


def files_below(folder: Path) -> list[str]:
    """The names of all files, sorted. Raises ModelLoadError for a link to a folder, which is not followed."""
    found = list(folder.rglob("*"))
    if linked := next((path for path in found if path.is_symlink() and path.is_dir()), None):
        raise ModelLoadError(f"{linked}: is a link to a folder, which is not followed; put the folder itself there")
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def check(path: Path, expected: str, what: str, progress: Progress | None = None) -> None:
    """Hold a file or folder against `sha256:…`. Raises ModelLoadError."""
    progress = progress or Progress()
    actual = f"sha256:{(folder_digest if path.is_dir() else file_digest)(path, progress)}"
    if actual != expected:
        raise ModelLoadError(f"{what}: its digest is {actual}, expected is {expected}")
