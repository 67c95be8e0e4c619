"""What docker, podman and buildah are given: a Containerfile that puts the layers made here onto the base.

Nothing runs in such a build: the base needs neither pip nor a shell, another architecture no emulator, and packages come by
this machine's pip and its settings. Pure but for `write_context`.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from kfunc.errors import BuildError, StartupError
from kfunc.images.contents import Contents
from kfunc.images.documents import Settings
from kfunc.images.layers import MEDIA_TYPES, Layer
from kfunc.images.platforms import Platform
from kfunc.images.recipes import PATH

CONTAINERFILE = "Containerfile"
BASES_PATH = f"${{PATH:-{PATH}}}"
"""Of the base, which only the program that builds knows."""
UNSAFE = re.compile(r"[^ -~]")


def write_context(folder: Path, base: str, contents: Mapping[Platform, Contents], settings: Settings) -> None:
    """Write the folder that the program reads. Raises BuildError, StartupError."""
    try:
        for platform, made in contents.items():
            place = folder / platform.architecture
            place.mkdir()
            for name, layer in zip(_names(made), made.layers, strict=True):
                _link(layer.blob.path, place / name)
        (folder / CONTAINERFILE).write_text(containerfile(base, contents, settings), encoding="utf-8")
    except OSError as error:
        raise BuildError(f"cannot write to {error.filename}: {error.strerror}; make room there") from None


def containerfile(base: str, contents: Mapping[Platform, Contents], settings: Settings) -> str:
    """The Containerfile. Raises StartupError for a value that it cannot hold."""
    several = len(contents) > 1
    first = next(iter(contents))
    place = "$TARGETARCH" if several else first.architecture
    lines = [
        f"FROM {_word(base)}",
        *(["ARG TARGETARCH"] if several else []),  # older docker daemons do not know it
        *(f"ADD {place}/{name} /" for name in _names(contents[first])),
        "ENV " + " ".join(f"{name}={value}" for name, value in settings.variables.items()),
        "LABEL " + " ".join(f"{name}={json.dumps(value)}" for name, value in settings.labels.items()),
        "EXPOSE " + " ".join(map(str, settings.ports)),
        f"USER {settings.user}",
        f"WORKDIR {settings.folder}",
        f"ENTRYPOINT {json.dumps(settings.entrypoint)}",
        f"CMD {json.dumps(settings.arguments)}",
    ]
    return "\n".join(lines) + "\n"


def _names(contents: Contents) -> list[str]:
    """The layers' files: ADD unpacks what is a tar file, by its content."""
    return [f"{number}-{_name(layer)}" for number, layer in enumerate(contents.layers)]


def _name(layer: Layer) -> str:
    ending = "tar" if layer.blob.media_type == MEDIA_TYPES["plain"] else "tar.gz"
    return f"{layer.created_by.partition(' ')[0]}.{ending}"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _word(text: str) -> str:
    """A name in a Containerfile."""
    if UNSAFE.search(text) or " " in text or "$" in text or "\\" in text:
        raise StartupError(f"{text!r} cannot stand in a Containerfile; correct the base image")
    return text
