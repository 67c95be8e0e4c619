"""A base image made from this machine's Python, for clusters that reach no registry with base images.

Interpreter, standard library and the shared libraries that they and wheels need; no shell, no package manager. The image for
the other platform is empty: what is built for it is looked at, and runs nowhere.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from kfunc.images.building import descriptor
from kfunc.images.bytecode import compiled
from kfunc.images.documents import CONFIG, MANIFEST, Descriptor, Json, encode, manifest
from kfunc.images.layers import Entry, Layer, write_layer
from kfunc.images.layouts import write_layout
from kfunc.images.platforms import Platform
from kfunc.images.store import Store

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FACTS = """
import json, sys, sysconfig
print(json.dumps([sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sys.version.split()[0]]))
"""
LEFT_OUT = {"__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "dist-packages", "test", "tkinter", "turtledemo"}
FOR_WHEELS = (
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libresolv.so.2",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
)
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def interpreter() -> Path:
    """Debian's Python, which is built as those of official images are; else the one that runs the tests."""
    system = Path(f"/usr/bin/python{VERSION}")
    return system if system.is_file() else Path(sys.executable).resolve()


def write_base_image(folder: Path) -> None:
    """Write the image as an OCI layout."""
    with tempfile.TemporaryDirectory() as path:
        store = Store(Path(path))
        python = interpreter()
        stdlib, platstdlib, version = json.loads(subprocess.check_output([python, "-S", "-c", FACTS]))
        entries = _entries(python, {Path(stdlib), Path(platstdlib)})
        modules = compiled(entries, str(python), VERSION, Path(path))
        layer = write_layer(store, [*entries, *modules], "this machine's Python")
        own, other = ("amd64", "arm64") if Path("/lib64/ld-linux-x86-64.so.2").exists() else ("arm64", "amd64")
        programs = f"{python.parent}:/usr/local/bin:/usr/bin:/bin"
        variables = [f"PATH={programs}", f"PYTHON_VERSION={version}", "LANG=C.UTF-8"]
        roots, blobs = [], [layer.blob]
        for architecture, layers in ((own, [layer]), (other, [])):
            config = store.add(encode(_config(architecture, variables, layers)), CONFIG)
            image = store.add(encode(manifest(descriptor(config), [descriptor(each.blob) for each in layers], {})), MANIFEST)
            roots.append(Descriptor(MANIFEST, image.digest, image.size, Platform(architecture)))
            blobs += [config, image]
        write_layout(folder, roots, blobs, "base:1")


def _config(architecture: str, variables: list[str], layers: list[Layer]) -> Json:
    roots = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
    history = [{"created_by": layer.created_by} for layer in layers]  # podman wants an entry for each layer
    return {"architecture": architecture, "os": "linux", "config": {"Env": variables}, "rootfs": roots, "history": history}


def _entries(python: Path, libraries: set[Path]) -> list[Entry]:
    files = {python}
    for folder in libraries:
        files |= {path for path in folder.rglob("*") if path.is_file() and not LEFT_OUT & set(path.relative_to(folder).parts)}
    needed = shared_libraries(python)
    for file in sorted(files):
        if ".so" in file.suffixes:
            needed |= shared_libraries(file)
    known = dict(
        re.findall(r"^\s*(\S+) \(libc6,[^)]*\) => (\S+)", subprocess.check_output(["/sbin/ldconfig", "-p"], text=True), re.M)
    )
    needed |= {known[name] for name in FOR_WHEELS if name in known}
    made = [Entry(str(path).lstrip("/"), path, python == path) for path in files]
    made += [Entry(name.lstrip("/"), Path(name), True) for name in needed]
    made += [
        Entry(f"{str(python.parent).lstrip('/')}/{name}", link=python.name)
        for name in ("python", "python3")
        if name != python.name
    ]
    if AUTHORITIES.exists():
        made.append(Entry(str(AUTHORITIES).lstrip("/"), AUTHORITIES))
    return list({entry.path: entry for entry in made}.values())


def shared_libraries(file: Path) -> set[str]:
    """The shared libraries that a program or library is linked with."""
    found = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", found))
