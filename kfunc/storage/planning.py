"""Which parts of which files are still to be read, and how a download remembers those that are there. Pure."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from kfunc.storage.contract import UNKNOWN, RemoteFile

PART_BYTES = 16 * 1024 * 1024
TRIES = 9  # in a row, without a byte between them
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_ASKED_S = 0.2, 5.0, 60.0


class Part(Struct, frozen=True):
    """A piece of file number `file`, from `start` to before `stop`, which is UNKNOWN where the file's size is."""

    file: int
    start: int
    stop: int


class Head(Struct, frozen=True):
    """What a journal is of. `boot` is the kernel's: after a crash of the machine what was written may be lost."""

    files: list[RemoteFile]
    part_bytes: int
    boot: str


def plan(files: Sequence[RemoteFile], done: Iterable[Part], part_bytes: int) -> list[Part]:
    """The parts that are missing, those of the largest files first, so that no long one is left for the end."""
    there = set(done)
    order = sorted(range(len(files)), key=lambda number: -files[number].size)
    return [part for number in order for part in parts_of(number, files[number], part_bytes) if part not in there]


def parts_of(number: int, file: RemoteFile, part_bytes: int) -> list[Part]:
    """All parts of one file; an empty one has none."""
    if file.in_one_piece:
        return [Part(number, 0, file.size)] if file.size else []
    return [Part(number, start, min(start + part_bytes, file.size)) for start in range(0, file.size, part_bytes)]


def known_bytes(files: Iterable[RemoteFile]) -> int:
    """Of all files whose size is known."""
    return sum(file.size for file in files if file.size != UNKNOWN)


def all_bytes(files: Sequence[RemoteFile]) -> int:
    """Of all files; 0 where the size of one is not known."""
    return 0 if any(file.size == UNKNOWN for file in files) else known_bytes(files)


def pause_s(failures: int, asked_s: float = 0.0) -> float:
    """How long to wait after so many failures in a row; at least what the server asked for, up to a minute."""
    return max(min(FIRST_PAUSE_S * 2.0 ** (failures - 1), LONGEST_PAUSE_S), min(asked_s, LONGEST_ASKED_S))


# ---- the journal: a line for the listing, then a line for each part that is on the disk


def first_line(head: Head) -> bytes:
    """Of a new journal."""
    return msgspec.json.encode(head) + b"\n"


def line(part: Part) -> bytes:
    """Of a part that is there."""
    return msgspec.json.encode(part) + b"\n"


def read(text: bytes, head: Head) -> list[Part] | None:
    """The parts that a journal says are there; None where it is of another listing. A line that was cut off does not count."""
    lines = text.split(b"\n")[:-1]
    try:
        if not lines or msgspec.json.decode(lines[0], type=Head) != head:
            return None
        found = [msgspec.json.decode(each, type=Part) for each in lines[1:]]
    except msgspec.MsgspecError:
        return None
    valid = {part for number, file in enumerate(head.files) for part in parts_of(number, file, head.part_bytes)}
    return [part for part in found if part in valid and part.stop != UNKNOWN]
