"""Other programs that build images: how each is started. Pure but for `write_authorities`, `find_program` and `run`."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from kfunc.errors import BuildError, StartupError
from kfunc.images.application import BUILDPACK
from kfunc.images.containerfile import CONTAINERFILE
from kfunc.images.places import FUNCTION
from kfunc.images.platforms import Platform
from kfunc.registries.references import DOCKER_HUB, parse_reference

Builder = Literal["docker", "podman", "buildah", "pack"]
INSTALL = {
    "docker": "https://docs.docker.com/engine/install",
    "podman": "apt-get install podman, or https://podman.io",
    "buildah": "apt-get install buildah, or https://buildah.io",
    "pack": "https://buildpacks.io/docs/for-platform-operators/how-to/integrate-ci/pack",
}
PACK_BUILDER = "paketobuildpacks/builder-jammy-base"
CERTIFICATES = "certificates"
DIGEST, METADATA = "digest", "metadata.json"
"""Where a program notes what it has pushed: as lines, or as JSON."""
DIGESTS = "{{range .RepoDigests}}{{println .}}{{end}}"
NOTED = re.compile(r"(?:\S+@)?sha256:[0-9a-f]{64}")


class Command(Struct, frozen=True):
    """A command; where it need not succeed, nothing of it is shown. `answer`: the file that takes its standard output."""

    words: list[str]
    may_fail: bool = False
    answer: Path | None = None


class ForeignBuild(Struct, frozen=True, kw_only=True):
    """What is built by somebody else's program. `plain_…`: the registry of that may have any certificate, or no TLS.

    `python` and `stack` are pack's: a minor version, and the builder image.
    """

    image: str
    platforms: tuple[Platform, ...]
    push: bool = True
    plain_base: bool = False
    plain_image: bool = False
    authorities: str = ""
    python: str = ""
    stack: str = ""


def commands(builder: Builder, order: ForeignBuild, folder: Path) -> list[Command]:
    """The commands, in their order, for what `folder` has."""
    if builder == "docker":
        return _docker(order, folder)
    return _pack(order, folder) if builder == "pack" else _containers(builder, order, folder)


def _docker(order: ForeignBuild, folder: Path) -> list[Command]:
    several = len(order.platforms) > 1
    made = ["docker", *(["buildx"] if several else []), "build", *_common(order, folder), "--tag", order.image]
    if several:  # an index is in one place only: the registry, or the daemon's store
        sent = ["--push", f"--metadata-file={folder / METADATA}"] if order.push else ["--load"]
        return [Command([*made, *sent, str(folder)])]
    known = Command(["docker", "image", "inspect", "--format", DIGESTS, order.image], may_fail=True, answer=folder / DIGEST)
    return [Command([*made, str(folder)]), *([Command(["docker", "push", order.image]), known] if order.push else [])]


def _containers(builder: Builder, order: ForeignBuild, folder: Path) -> list[Command]:
    """Podman and Buildah, which know the same options."""
    several = len(order.platforms) > 1
    trust = [f"--cert-dir={folder / CERTIFICATES}"] if order.authorities else []
    base = ["--tls-verify=false"] if order.plain_base else trust
    target = ["--tls-verify=false"] if order.plain_image else trust
    named = ["--manifest" if several else "--tag", order.image]
    # An index of that name would get the new images beside those that it has, and an image of that name is in its way.
    before = [Command([builder, "rmi", order.image], may_fail=True)] if several else []
    push = [builder, "manifest", "push", "--all"] if several else [builder, "push"]
    note = f"--digestfile={folder / DIGEST}"
    sent = [Command([*push, *target, note, order.image, f"docker://{order.image}"])] if order.push else []
    made = [builder, "build", "--layers", *_common(order, folder), *base, *named, str(folder)]  # buildah alone makes one of all
    return [*before, Command(made), *sent]


def _pack(order: ForeignBuild, folder: Path) -> list[Command]:
    options = ["--builder", order.stack, *(f"--platform={each}" for each in order.platforms)]
    options += ["--post-buildpack", str(folder / BUILDPACK), "--path", str(folder / FUNCTION)]
    options += ["--env", f"BP_CPYTHON_VERSION={order.python}.*"]
    host = order.image.partition("/")[0]
    published = ["--publish", *([f"--insecure-registry={host}"] if order.plain_image else [])] if order.push else []
    return [Command(["pack", "build", order.image, *options, *published])]


def _common(order: ForeignBuild, folder: Path) -> list[str]:
    return [f"--platform={','.join(map(str, order.platforms))}", "--file", str(folder / CONTAINERFILE)]


def write_authorities(order: ForeignBuild, folder: Path) -> None:
    """The certificates that Podman and Buildah trust, as they want them. Raises StartupError."""
    if not order.authorities:
        return
    (folder / CERTIFICATES).mkdir()
    try:
        shutil.copyfile(order.authorities, folder / CERTIFICATES / "ca.crt")
    except OSError as error:
        raise StartupError(f"cannot read the certificates in {order.authorities}: {error.strerror}; correct --ca") from None


def find_program(builder: Builder, environ: Mapping[str, str]) -> str:
    """Where the program is. Raises StartupError with how to install it."""
    program = shutil.which(builder, path=environ.get("PATH"))
    if program is None:
        raise StartupError(f"{builder} is not on the path: install it ({INSTALL[builder]}), or leave --builder out")
    return program


def run(builder: Builder, order: ForeignBuild, folder: Path, environ: Mapping[str, str]) -> str:
    """Start the program, which talks to the user itself, on standard error: the digest of what was pushed, empty: not known.

    Raises StartupError, BuildError.
    """
    program = find_program(builder, environ)
    for command in commands(builder, order, folder):
        told = subprocess.DEVNULL if command.may_fail else None
        with command.answer.open("wb") if command.answer else nullcontext(told or 2) as output:
            done = subprocess.run(
                [program, *command.words[1:]],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=told,
                check=False,
            )
        if done.returncode and not command.may_fail:
            said = " ".join(command.words[:2])
            raise BuildError(f"`{said}` failed with exit status {done.returncode}; its own words are above")
    return noted_digest(folder, order.image)


def noted_digest(folder: Path, image: str) -> str:
    """The digest that the program has noted for an image; empty where it has none, or several."""
    if (folder / METADATA).is_file():
        with suppress(msgspec.MsgspecError):
            noted = msgspec.json.decode((folder / METADATA).read_bytes(), type=dict[str, msgspec.Raw])
            return msgspec.json.decode(noted.get("containerimage.digest", b'""'), type=str)
    lines = (folder / DIGEST).read_text(errors="replace").split() if (folder / DIGEST).is_file() else []
    name = parse_reference(image).name
    names = {"", name, name.removeprefix(f"{DOCKER_HUB}/")}  # as Docker shows it
    found = {digest for named, _, digest in (line.rpartition("@") for line in lines if NOTED.fullmatch(line)) if named in names}
    return found.pop() if len(found) == 1 else ""
