"""Wheels become entries of a layer, as an installer would lay them out (PyPA's binary distribution format).

Their folder is on PYTHONPATH, where Python reads no .pth files.
"""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from email.parser import HeaderParser
from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo

from msgspec import Struct

from kfunc.errors import BuildError
from kfunc.images.layers import DAMAGED, Entry, Member
from kfunc.images.places import LIBRARIES, PROGRAMS

DATA = re.compile(r"[^/]+\.data/(purelib|platlib|scripts|data|headers)/(.+)")
ENTRY_POINTS = re.compile(r"[^/]+\.dist-info/entry_points\.txt")
PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PROGRAM_PLACE = re.compile(r"([A-Za-z0-9_.]+)\s*:\s*([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+)*)\s*(?:\[.*\])?")
MOST_METADATA = 4 << 20
EXECUTABLE = 0o111


class Package(Struct, frozen=True):
    """An installed package, for the list of what is in an image.

    `expression` says that the licence is an expression of SPDX, `digest` is its wheel's sha256 in hexadecimal digits.
    """

    name: str
    version: str
    licence: str = ""
    expression: bool = False
    digest: str = ""
    requires: tuple[str, ...] = ()


def read_package(path: Path, digest: str) -> Package:
    """What a wheel says of itself. Raises BuildError."""
    try:
        with ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            with archive.open(name) as file:
                return parse_metadata(file, digest)
    except (*DAMAGED, StopIteration, OSError) as error:
        raise _damaged(path, error) from None


def parse_metadata(file: IO[bytes], digest: str) -> Package:
    """The fields of METADATA that a list of packages has."""
    fields = HeaderParser().parsestr(file.read(MOST_METADATA).decode(errors="replace"))
    licence = expression = fields.get("License-Expression") or ""
    if not licence and len(fields.get("License") or "") <= 100:
        licence = (fields.get("License") or "").strip()
    requires = [line for line in fields.get_all("Requires-Dist") or [] if "extra ==" not in line]
    names = sorted({normalized(found[0]) for line in requires if (found := re.match(r"[A-Za-z0-9._-]+", line))})
    return Package(
        normalized(fields.get("Name") or ""), fields.get("Version") or "", licence, bool(expression), digest, tuple(names)
    )


def normalized(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_entries(path: Path) -> Iterator[Entry]:
    """The files that a wheel installs. Raises BuildError for one that is damaged or would leave its folder."""
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except (*DAMAGED, OSError) as error:
        raise _damaged(path, error) from None
    for member in members:
        if member.is_dir():
            continue
        yield _entry(path, member)
        if ENTRY_POINTS.fullmatch(member.filename):
            yield from _programs(path, member.filename)


def _programs(path: Path, name: str) -> Iterator[Entry]:
    """The programs that a wheel declares (entry_points.txt, `console_scripts`)."""
    text = _content(path, name).decode(errors="replace")
    table = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    table.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        table.read_string(text)
    except ConfigParserError as error:
        raise _damaged(path, error) from None
    for program, place in table["console_scripts"].items() if "console_scripts" in table else ():
        found = PROGRAM_PLACE.fullmatch(place)
        if found and PROGRAM.fullmatch(program):
            code = f"#!/usr/bin/env python\nimport sys\nfrom {found[1]} import {found[2]}\nsys.exit({found[2]}{found[3]}())\n"
            yield Entry(f"{PROGRAMS}/{program}", code.encode(), True)


def _entry(path: Path, member: ZipInfo) -> Entry:
    name = member.filename
    if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise BuildError(f"{path.name} has a file {name!r}, which is not within its folder: do not use this package")
    found = DATA.fullmatch(name)
    executable = bool(member.external_attr >> 16 & EXECUTABLE)
    content: Member | bytes = Member(path, name)
    if found is None:
        return Entry(f"{LIBRARIES}/{name}", content, executable)
    kind, rest = found.groups()
    if kind == "scripts":
        return Entry(f"{PROGRAMS}/{rest}", _with_interpreter(path, name), True)
    if kind == "headers":
        return Entry(f"{LIBRARIES}/.headers/{rest}", content)
    return Entry(f"{LIBRARIES}/{rest}" if kind != "data" else f"{LIBRARIES}/.data/{rest}", content, executable)


def _with_interpreter(path: Path, name: str) -> bytes:
    """A script; the first line `#!python` names the image's Python."""
    return re.sub(rb"\A#!pythonw?", b"#!/usr/bin/env python", _content(path, name), count=1)


def _content(path: Path, name: str) -> bytes:
    try:
        with ZipFile(path) as archive:
            return archive.read(name)
    except (*DAMAGED, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> BuildError:
    return BuildError(f"{path.name} is no wheel ({error or 'it has no METADATA'}): remove it, and build again")
