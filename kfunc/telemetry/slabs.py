"""The numbers behind the metrics: doubles of this process, or of several that were forked from one parent.

Each process writes a slab of its own in a shared map. What is allocated before the fork stands at the same place in
all slabs; what a process allocates later is in its slab's directory, where the others find it.
"""

import mmap
import struct
from collections.abc import Iterator, MutableSequence
from typing import cast

import msgspec
from msgspec import Struct

SLAB_DOUBLES = 8192
DIRECTORY_BYTES = 256 * 1024
CODES = range(100, 600)
HEAD = struct.Struct("@Q")  # bytes of the directory that are written


class Entry(Struct, frozen=True, array_like=True):
    """What stands at `index` of a slab: one series. `combine` says how several processes' gauges become one."""

    index: int
    name: str
    kind: str
    text: str
    labels: tuple[tuple[str, str], ...]
    bounds: tuple[float, ...] = ()
    combine: str = "sum"

    @property
    def size(self) -> int:
        """Its doubles: a histogram's buckets, one more without a bound, and the sum; one for each HTTP status; a gauge that
        is combined by `last` has the time beside its value."""
        if self.kind == "codes":
            return len(CODES)
        if self.kind == "histogram":
            return len(self.bounds) + 2
        return 2 if self.combine == "last" else 1


class Slabs:
    """`values` are this process's own; `count` is the number of processes that share them."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.own = -1  # the slab that is written, once `attach` has said so
        self._used = 0
        self._directories: mmap.mmap | None = None
        self.values: MutableSequence[float]
        if count == 1:
            # A list counts in half the time, but only a map is shared with workers that are forked later.
            self._list: list[float] = []
            self._all: MutableSequence[float] = self._list
            self.values = self._all
        else:
            self._all = cast(MutableSequence[float], memoryview(mmap.mmap(-1, count * SLAB_DOUBLES * 8)).cast("d"))
            self.values = self._all[:SLAB_DOUBLES]
            self._directories = mmap.mmap(-1, count * DIRECTORY_BYTES)

    def attach(self, slab: int) -> list[Entry]:
        """Write to slab number `slab` from now on; what an earlier process has allocated there."""
        if self._directories is None:
            return []
        self.own = slab % self.count
        start = self.own * SLAB_DOUBLES
        self.values = self._all[start : start + SLAB_DOUBLES]
        entries = list(self._entries(self.own))
        self._used = max([self._used, *(entry.index + entry.size for entry in entries)])
        return entries

    def allocate(self, size: int) -> int:
        """The index of `size` doubles in a row. Raises ValueError where the slab is full."""
        first, self._used = self._used, self._used + size
        if self._used > SLAB_DOUBLES:
            self._used = first
            raise ValueError("too many metrics for a slab")
        if self._directories is None:
            self._list += [0.0] * size
        return first

    def publish(self, entry: Entry) -> None:
        """Let the other processes know of what was allocated after the fork. Raises ValueError where there is no room."""
        directories = self._directories
        if directories is None or self.own < 0:
            return
        at = self.own * DIRECTORY_BYTES
        (written,) = HEAD.unpack_from(directories, at)
        line = msgspec.json.encode(entry) + b"\n"
        if HEAD.size + written + len(line) > DIRECTORY_BYTES:
            raise ValueError("too many metrics for a slab")
        start = at + HEAD.size + written
        directories[start : start + len(line)] = line
        HEAD.pack_into(directories, at, written + len(line))  # last: who reads meanwhile sees whole lines

    def published(self) -> Iterator[tuple[int, Entry]]:
        """What each process has allocated after the fork."""
        for slab in range(self.count if self._directories is not None else 0):
            for entry in self._entries(slab):
                yield slab, entry

    def _entries(self, slab: int) -> Iterator[Entry]:
        if self._directories is None:
            return
        at = slab * DIRECTORY_BYTES
        (written,) = HEAD.unpack_from(self._directories, at)
        for line in self._directories[at + HEAD.size : at + HEAD.size + written].splitlines():
            yield msgspec.json.decode(line, type=Entry)

    def read(self, slab: int, index: int) -> float:
        """One number of one process."""
        return self._all[slab * SLAB_DOUBLES + index]
