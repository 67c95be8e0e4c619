"""Reads events from where they are kept: JSON lines (rotated ones too), a spool, Parquet, an object store, standard input."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from kfunc.config.locations import file_path
from kfunc.config.sink_addresses import KINDS, SinkFault, parse_sink
from kfunc.errors import InvalidRequest, StartupError
from kfunc.event_log.stored import Stored, read_line
from kfunc.logger_sidecar.object_outcomes import outcome_of

STORES = ("s3", "gs", "az")
POLL_S = 0.2
OPENING, ID = b'{"', b'"id":'
MAX_HALVES = 16
ROTATED = re.compile(r"\.([0-9]+)")

OnFault = Callable[[str], None]
"""Told of a line that is no event, or of a part of a spool that cannot be read: place and reason."""


def read_events(place: str, on_fault: OnFault) -> Iterator[Stored]:
    """The events of a file, folder, spool, `s3:`, `gs:` or `az:` address, or `-`, oldest first. Raises StartupError."""
    if place.partition("://")[0] in STORES:
        return _read_store(place, on_fault)
    if place == "-":
        return _lines(sys.stdin.buffer, "standard input", on_fault)
    path = existing(place)
    return _read_folder(path, on_fault) if path.is_dir() else _read_files([*rotated(path), path], on_fault)


def existing(place: str) -> Path:
    """The path that a place names. Raises StartupError where nothing is there."""
    path = Path(file_path(place) or place)
    if not path.exists():
        known = "a file of events, a spool, an s3:, gs: or az: address, or - for standard input"
        raise StartupError(f"there is no {path}; name {known}")
    return path


def rotated(path: Path) -> list[Path]:
    """What was put aside of a file, `PATH.9` before `PATH.1`: the oldest first."""
    found = [
        (int(match[1]), each)
        for each in path.parent.glob(f"{path.name}.*")
        if (match := ROTATED.fullmatch(each.name.removeprefix(path.name)))
    ]
    return [each for _, each in sorted(found, reverse=True)]


def _read_files(paths: list[Path], on_fault: OnFault) -> Iterator[Stored]:
    for path in paths:
        if path.suffix == ".parquet":
            from kfunc.event_log.parquet_reading import read_parquet

            yield from read_parquet(path.read_bytes(), str(path), on_fault)
            continue
        try:
            with path.open("rb") as file:
                # As far as it goes now: what is sent again may be logged in the same file.
                yield from _lines(file, str(path), on_fault, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise StartupError(f"{path} cannot be read: {error.strerror}") from None


def _lines(file: BinaryIO, name: str, on_fault: OnFault, size: float = float("inf")) -> Iterator[Stored]:
    """Half a line is no fault where its event comes whole behind it: its writer was killed, and the next one sent it again.

    By its id: all before that is the same in other events.
    """
    halves: dict[bytes, list[str]] = {}  # what is to be told of them
    read = 0
    for number, line in enumerate(file, 1):
        read += len(line)
        if read > size > 0:
            break
        told: list[str] = []
        if (event := _event(line, f"{name}:{number}", told.append)) is not None:
            if halves:
                own = ID + msgspec.json.encode(event.id)
                halves = {half: about for half, about in halves.items() if not (line.startswith(half) and own in half)}
            yield event
        elif told and line.startswith(OPENING) and ID in line and len(halves) < MAX_HALVES:
            halves[line.rstrip(b"\r\n")] = told
        else:
            _tell(told, on_fault)
    for about in halves.values():
        _tell(about, on_fault)


def _tell(faults: list[str], on_fault: OnFault) -> None:
    for fault in faults:
        on_fault(fault)


def _event(line: bytes, place: str, on_fault: OnFault) -> Stored | None:
    text = line.strip()
    if not text:
        return None
    try:
        return read_line(text)
    except InvalidRequest as error:
        on_fault(f"{place}: {error.message}")
        return None


class Follower:
    """A file that is still written: what is in it now, and what comes. Raises StartupError for what is no file."""

    def __init__(self, place: str, on_fault: OnFault) -> None:
        self._path = existing(place)
        if not self._path.is_file() or self._path.suffix == ".parquet":
            raise StartupError(f"{place} is no file of JSON lines: only such can be followed")
        self._on_fault = on_fault
        self._file = self._path.open("rb")

    def now(self) -> Iterator[Stored]:
        """What was put aside of it, and all whole lines that are in it."""
        yield from _read_files(rotated(self._path), self._on_fault)
        yield from self._whole_lines()

    def later(self) -> Iterator[Stored]:
        """What comes, for ever; a file that is put aside is left for its successor."""
        while True:
            yield from self._whole_lines()
            if _was_replaced(self._file, self._path):
                yield from self._whole_lines()  # what was written just before
                try:
                    successor = self._path.open("rb")
                except OSError:  # it is just being put aside
                    time.sleep(POLL_S)
                    continue
                self._file.close()
                self._file = successor
            else:
                time.sleep(POLL_S)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _whole_lines(self) -> Iterator[Stored]:
        while True:
            start = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(start)
                return
            if (event := _event(line, f"{self._path}, byte {start}", self._on_fault)) is not None:
                yield event


def _was_replaced(file: BinaryIO, path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat()) or path.stat().st_size < file.tell()
    except FileNotFoundError:
        return False


def _read_folder(path: Path, on_fault: OnFault) -> Iterator[Stored]:
    """A spool (its lanes, or one of them), else all files of events below the folder."""
    from kfunc.logger_sidecar.lanes import CURSORS

    lanes = sorted({each.parent for each in path.rglob("*.seg")})
    if lanes:
        for lane in lanes:
            yield from _read_lane(lane, on_fault)
        return
    files = sorted(each for each in path.rglob("*") if each.suffix in (".jsonl", ".parquet"))
    if not files and not any(path.rglob(CURSORS)):  # a spool of which everything is delivered has no segments
        raise StartupError(f"{path} holds no events: neither a spool's segments (*.seg) nor *.jsonl or *.parquet")
    yield from _read_files([each for file in files for each in (*rotated(file), file)], on_fault)


def _read_lane(lane: Path, on_fault: OnFault) -> Iterator[Stored]:
    from kfunc.logger_sidecar.event import event_maker
    from kfunc.logger_sidecar.segments import read_folder

    make = event_maker("none")
    try:
        for spooled in read_folder(str(lane), on_fault):
            for event in make(spooled.origin, spooled.call):
                if (stored := _event(event.structured(), f"{lane}, call {spooled.call.number}", on_fault)) is not None:
                    yield stored
    except OSError as error:
        raise StartupError(f"{error.filename or lane} cannot be read: {error.strerror}") from None


def _read_store(place: str, on_fault: OnFault) -> Iterator[Stored]:
    try:
        address = parse_sink(place)
    except SinkFault as fault:
        raise StartupError(str(fault)) from None
    try:
        import obstore
        from obstore.exceptions import BaseError

        from kfunc.logger_sidecar.object_sink import open_store
    except ImportError:
        raise StartupError(f"{place} needs a library that is not here: pip install 'kfunc[{KINDS['s3'].extra}]'") from None
    try:
        store = open_store(address, os.environ)
        names = sorted(each["path"] for batch in obstore.list(store, address.path or None) for each in batch)
        for name in names:
            content = bytes(obstore.get(store, name).bytes())
            if name.endswith(".parquet"):
                from kfunc.event_log.parquet_reading import read_parquet

                yield from read_parquet(content, name, on_fault)
            elif name.endswith(".jsonl"):
                for number, line in enumerate(content.splitlines(), 1):
                    if (event := _event(line, f"{name}:{number}", on_fault)) is not None:
                        yield event
    except (BaseError, OSError) as error:
        raise StartupError(f"{place} cannot be read: {outcome_of(error).reason}") from None
