"""Reading the log: where a sink is in it, and its parts from segments on the disk."""

from typing import Protocol

from msgspec import Struct

from kfunc.logger_sidecar.disk import SegmentInfo
from kfunc.logger_sidecar.record import Origin, whole_records
from kfunc.logger_sidecar.segments import SegmentReader


class Cursor(Struct):
    """How far a sink is: it has everything before `position`. `calls` counts what it has passed in this process."""

    name: str
    key: int
    position: int = 0
    calls: int = 0


class Chunk(Struct):
    """Records from `position` of the log on; `end` is where the next part begins. Without an origin there are none.

    `lost`: calls in what is damaged, as far as that is known, and at least one.
    """

    position: int
    end: int
    records: bytes
    origin: Origin | None
    damaged: bool = False
    lost: int = 0


class Log(Protocol):
    """What is delivered: the log of this process, or what another one left behind."""

    def cursor(self, name: str) -> Cursor:
        """Where the sink of this name is."""

    async def read(self, reader: "LogReader", position: int, most: int) -> Chunk | None:
        """About `most` bytes from `position` on; None where nothing is there (yet). Raises OSError."""

    def advance(self, cursor: Cursor, position: int, calls: int) -> None:
        """The sink has everything before `position`, `calls` more than before."""

    def position(self) -> int:
        """Where the log ends."""


class LogReader:
    """Reads segments for one sink, one after the other; in a thread, since a disk may take its time."""

    def __init__(self) -> None:
        self._segment: SegmentReader | None = None
        self._path = ""
        self._read_to = 0
        self._passed = 0  # calls that were read of the segment

    def read(self, segments: list[SegmentInfo], position: int) -> Chunk | None:
        """The block that holds `position`, or else the first one behind it. Raises OSError."""
        for segment in segments:
            if segment.end <= position:
                continue
            reader = self._open(segment.path, position)
            while reader is not None and (block := reader.next_block()) is not None:
                end = block.position + len(block.records)
                self._passed += whole_records(block.records, len(block.records))[1]
                if end > position:
                    start = max(position, block.position)
                    self._read_to = end
                    return Chunk(start, end, block.records[start - block.position :], reader.origin)
            # Damaged, or deleted, between here and its end; nothing behind the damage can be told apart.
            passed = self._passed if reader is not None else segment.calls
            return Chunk(position, segment.end, b"", None, damaged=True, lost=max(1, segment.calls - passed))
        return None

    def _open(self, path: str, position: int) -> SegmentReader | None:
        """The segment's reader: the one in use if it stands at `position` or before."""
        if self._segment is None or self._path != path or self._read_to > position:
            self.close()
            try:
                self._segment = SegmentReader(path)
            except FileNotFoundError:
                return None
            self._path = path
        return self._segment

    def close(self) -> None:
        """Let go of the file."""
        if self._segment is not None:
            self._segment.close()
        self._segment, self._read_to, self._passed = None, 0, 0
