"""What a kind of storage implements: `Source`. Its code is asked from several threads at once."""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from kfunc.errors import ModelLoadError

UNKNOWN = -1


class RemoteFile(Struct, frozen=True):
    """One file of a model: its path within the model, and what says that its content is still the same.

    `size` is UNKNOWN where the server does not tell it, or reads no ranges: then it is read in one piece. `place` is the
    source's own name for it; `sha256`, in hexadecimal, is checked where the storage knows it.
    """

    name: str
    size: int
    version: str = ""
    place: str = ""
    sha256: str = ""
    unpack: bool = False
    """A layer: its content is the model, not itself."""


class Listing(Struct, frozen=True):
    """All files of a model. `is_file`: the URI names one file, not a folder. `root` is the folder of layers that counts."""

    files: list[RemoteFile]
    is_file: bool = False
    root: str = ""


class Source(Protocol):
    """One model's place. Raises ModelLoadError for what trying again will not mend, Interrupted for the rest."""

    def list_files(self) -> Listing:
        """The files that there are now."""

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop` in blocks, of the version that was listed; of a file of UNKNOWN size all."""

    def close(self) -> None:
        """Let go of connections."""


class Interrupted(Exception):
    """A transfer broke off: what is missing can be asked for again, after `after_s` seconds where the server says so."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Changed(ModelLoadError):
    """The file is not the one that was listed: the whole download begins again."""
