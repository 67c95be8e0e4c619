"""The spool's files: names, what is in them, where damage begins. Reads and writes files; all formats are `record.py`'s."""

import os
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

from msgspec import Struct

from kfunc.logger_sidecar.record import (
    BLOCK_HEAD,
    SEGMENT_HEAD,
    Block,
    CallRecord,
    Origin,
    decode_block,
    decode_records,
    decode_segment_head,
    whole_records,
)

SUFFIX = ".seg"
MAX_ORIGIN = 64 * 1024
WRITTEN_S = 0.1
"""A block that is not whole yet is so then, where it is just being written."""


def segment_name(position: int) -> str:
    """The file of the segment whose first record stands at `position` in the log: names sort as the log goes."""
    return f"{position:020d}{SUFFIX}"


def segment_paths(folder: str) -> list[tuple[int, str]]:
    """Positions and paths of a folder's segments, oldest first; an absent folder has none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    numbers = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted((int(number), os.path.join(folder, number + SUFFIX)) for number in numbers if number.isdigit())


class SegmentReader:
    """Reads a segment block by block, also one that is still being written. Raises OSError.

    `origin` is None where the head is not readable. `at` is where the next block begins in the file.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.origin: Origin | None = None
        self.at = 0
        head = decode_segment_head(os.pread(self._descriptor, SEGMENT_HEAD.size + MAX_ORIGIN, 0))
        if head is not None:
            self.origin, self.at = head

    def next_block(self) -> Block | None:
        """The next block; None where no whole one follows (yet)."""
        head = os.pread(self._descriptor, BLOCK_HEAD.size, self.at)
        if self.origin is None or len(head) < BLOCK_HEAD.size:
            return None
        length = BLOCK_HEAD.unpack(head)[1]
        if self.at + BLOCK_HEAD.size + length > self.size():
            return None
        block = decode_block(os.pread(self._descriptor, BLOCK_HEAD.size + length, self.at))
        if block is not None:
            self.at += block.end
        return block

    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class SpooledCall(Struct):
    """A call and who wrote it."""

    origin: Origin
    call: CallRecord


def read_folder(folder: str, on_damage: Callable[[str], None] = lambda text: None) -> Iterator[SpooledCall]:
    """All calls that lie in a spool's folder, oldest first, whether they are delivered or not. Raises OSError.

    Damaged parts are left out, of a segment all that follows the damage, and `on_damage` is told of their places. A torn
    end is none where the next segment goes on with what was in it.
    """
    paths = segment_paths(folder)
    for (start, path), (follows, _) in pairwise([*paths, (-1, "")]):
        try:
            reader = SegmentReader(path)
        except FileNotFoundError:  # delivered and deleted meanwhile
            continue
        end = start
        try:
            while (block := _next_whole(reader, is_last=follows < 0)) is not None:
                end = block.position + len(block.records)
                for call in decode_records(block.records, block.position):
                    yield SpooledCall(reader.origin or Origin(""), call)
            if end < follows or (follows < 0 and reader.at < reader.size()):
                on_damage(f"{path}, byte {reader.at}: damaged or cut off, and what follows in it cannot be read")
        finally:
            reader.close()


def _next_whole(reader: SegmentReader, *, is_last: bool) -> Block | None:
    """The next block; of the last segment also one that is just being written."""
    block = reader.next_block()
    if block is None and is_last and reader.at < reader.size():
        time.sleep(WRITTEN_S)
        block = reader.next_block()
    return block


def count_calls(path: str) -> int:
    """How many calls are in a segment, as far as it can be read."""
    count = 0
    try:
        reader = SegmentReader(path)
    except OSError:
        return 0
    try:
        while (block := reader.next_block()) is not None:
            count += whole_records(block.records, len(block.records))[1]
    except OSError:
        pass  # whoever delivers it says so
    finally:
        reader.close()
    return count


def delete_segments(paths: list[str]) -> None:
    """Delete files; one that cannot be deleted is found, and seen to be delivered, at the next start."""
    for path in paths:
        try:
            os.unlink(path)
        except OSError:
            pass
