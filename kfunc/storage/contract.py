"""What a kind of storage implements: `Source`. Its code is asked from several threads at once."""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from kfunc.errors import ModelLoadError

UNKNOWN = -1


class RemoteFile(Struct, frozen=True):
    """One file of a model: its path within the model, and what says that its content is still the same.

    `size` is UNKNOWN where the server does not tell it, `whole`: it reads no ranges. `place` is the source's own name for
    the file; `sha256`, in hexadecimal, is checked where the storage knows it.
    """

    name: str
    size: int
    version: str = ""
    place: str = ""
    sha256: str = ""
    unpack: bool = False
    """A layer: its content is the model, not itself."""
    whole: bool = False

    @property
    def in_one_piece(self) -> bool:
        """It is read from its beginning to its end, or again."""
        return self.whole or self.size == UNKNOWN


class Listing(Struct, frozen=True):
    """All files of a model. `is_file`: the URI names one file, not a folder. `root` is the folder of layers that counts.

    `mark` is by what the storage tells that nothing has changed: an ETag, a commit, a digest; empty where there is none.
    """

    files: list[RemoteFile]
    is_file: bool = False
    root: str = ""
    mark: str = ""


class Source(Protocol):
    """One model's place. Raises ModelLoadError for what trying again will not mend, Interrupted for the rest."""

    def list_files(self, known: Listing | None = None) -> Listing:
        """The files that there are now; `known`, what was listed before, where the storage says that it still holds."""

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop` in blocks, of the version that was listed; of one `in_one_piece` all."""

    def close(self) -> None:
        """Let go of connections."""


class Interrupted(Exception):
    """A transfer broke off: what is missing can be asked for again, after `after_s` seconds where the server says so.

    `check` is what its user may look at: `check that …`.
    """

    def __init__(self, message: str, after_s: float = 0.0, check: str = "") -> None:
        super().__init__(message)
        self.after_s = after_s
        self.check = check


class Changed(ModelLoadError):
    """The file is not the one that was listed: the whole download begins again."""
