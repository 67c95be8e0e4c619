"""What the tests of images build from: small wheels instead of an index, a base image without a system, a silent reporter."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import requires
from pathlib import Path
from zipfile import ZipFile

from kfunc.images.building import descriptor
from kfunc.images.documents import CONFIG, INDEX, MANIFEST, Descriptor, encode, index, manifest
from kfunc.images.layers import Entry, write_layer
from kfunc.images.layouts import write_layout
from kfunc.images.platforms import Platform
from kfunc.images.requirements import pinned_name, pins
from kfunc.images.store import Store
from kfunc.images.wheels import normalized

PYTHON = "3.11"


class Quiet:
    """A reporter that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda _: None


def write_wheel(
    folder: Path, name: str, version: str, files: dict[str, bytes] | None = None, tag: str = "py3-none-any", metadata: str = ""
) -> Path:
    """A wheel with one module of its name, or with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    content = files if files is not None else {f"{name.replace('-', '_')}.py": b"VALUE = 1\n"}
    fields = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}\n"
    with ZipFile(path, "w") as archive:
        for file, data in content.items():
            archive.writestr(file, data)
        archive.writestr(f"{info}/METADATA", fields)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def write_index(folder: Path, *extras: str) -> Path:
    """Wheels of all that kfunc needs, in the versions that it pins, each with one module."""
    versions = {pinned_name(line): line.partition("==")[2] for line in pins()}
    for line in requires("kfunc") or []:
        extra = re.search(r"extra == ['\"]([a-z0-9-]+)['\"]", line)
        found = re.match(r"[A-Za-z0-9._-]+", line)
        if found and (extra is None or extra[1] in extras) and found[0] != "kfunc":
            write_wheel(folder, found[0], versions.get(normalized(found[0]), "99.0"))
    return folder


def write_base(
    folder: Path, *platforms: str, variables: tuple[str, ...] = ("PATH=/usr/local/bin", "PYTHON_VERSION=3.11.9")
) -> Path:
    """A base image as an OCI layout: one file, and what a configuration says."""
    store = Store(folder.parent / f"{folder.name}-store")
    made = []
    blobs = []
    for architecture in platforms or ("amd64",):
        layer = write_layer(store, [Entry("etc/base", architecture.encode())], "base")
        config = store.add(
            encode(
                {
                    "architecture": architecture,
                    "os": "linux",
                    "config": {"Env": list(variables), "Entrypoint": ["/bin/sh"], "Labels": {"of": "base"}},
                    "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
                    "history": [{"created_by": "base"}],
                }
            ),
            CONFIG,
        )
        document = store.add(encode(manifest(descriptor(config), [descriptor(layer.blob)], {})), MANIFEST)
        made.append(Descriptor(MANIFEST, document.digest, document.size, Platform(architecture)))
        blobs += [layer.blob, config, document]
    root = made[0]
    if len(made) > 1:
        whole = store.add(encode(index(made, {})), INDEX)
        root, blobs = descriptor(whole), [*blobs, whole]
    write_layout(folder, [root], blobs, "base:1")
    return folder
