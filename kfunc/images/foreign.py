"""Other programs that build images: how each is started. Pure but for `write_settings`, `find_program` and `run`."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

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
DIGEST, METADATA, REPORT = "digest", "metadata.json", "report.toml"
"""Where a program notes what it has pushed: as lines, as JSON, or as pack's lifecycle does."""
DIGESTS = "{{range .RepoDigests}}{{println .}}{{end}}"
NOTED = re.compile(r"(?:\S+@)?sha256:[0-9a-f]{64}")
VARIABLES = "variables"
PYTHON_VARIABLE = "BP_CPYTHON_VERSION"


class Command(Struct, frozen=True):
    """A command; where it need not succeed, nothing of it is shown. `answer`: the file that takes its standard output.

    `tidies`: it is run after all others, also where one of them failed, and removes what they leave.
    """

    words: list[str]
    may_fail: bool = False
    answer: Path | None = None
    tidies: bool = False


class Pack(Struct, frozen=True, kw_only=True):
    """What pack alone is told: the builder image, buildpacks instead of that one's, and what they see.

    `volumes` are folders of this machine with their places in the build's containers. `same_socket`: the daemon has its socket
    where this process finds it.
    """

    stack: str = PACK_BUILDER
    buildpacks: tuple[str, ...] = ()
    volumes: tuple[tuple[Path, str], ...] = ()
    variables: dict[str, str] = {}
    same_socket: bool = False


class ForeignBuild(Struct, frozen=True, kw_only=True):
    """What is built by somebody else's program. `plain_…`: the registry of that may have any certificate, or no TLS.

    `here`: the image's registry is on this machine. `python` is a minor version, for pack.
    """

    image: str
    platforms: tuple[Platform, ...]
    push: bool = True
    plain_base: bool = False
    plain_image: bool = False
    here: bool = False
    authorities: str = ""
    python: str = ""
    pack: Pack = Pack()


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
    made = [builder, "build", "--layers", *_common(order, folder), *base]  # buildah alone makes one of all
    if several:  # an index that is there gets more images: each build makes one of its own, and that one gets the name
        own = f"localhost/kfunc-build/{sha256(str(folder).encode()).hexdigest()[:16]}"
        # Its name alone goes; `rmi` would look for the image of this platform.
        tidied = Command([builder, "manifest", "rm", own], may_fail=True, tidies=True)
        first = [Command([*made, "--manifest", own, str(folder)]), Command([builder, "tag", own, order.image]), tidied]
    else:
        first = [Command([*made, "--tag", order.image, str(folder)])]
    if not order.push:
        return first
    push = [builder, "manifest", "push", "--all"] if several else [builder, "push"]
    note = f"--digestfile={folder / DIGEST}"
    return [*first, Command([*push, *target, note, order.image, f"docker://{order.image}"])]


def _pack(order: ForeignBuild, folder: Path) -> list[Command]:
    pack, host = order.pack, order.image.partition("/")[0]
    options = ["--builder", pack.stack, *(f"--platform={each}" for each in order.platforms)]
    for each in pack.buildpacks:
        options += ["--buildpack", each]
    # Ours does nothing but copy files; else pack would run the phases one by one in an image of its own, from Docker Hub.
    options += ["--post-buildpack", str(folder / BUILDPACK), "--trust-extra-buildpacks", "--path", str(folder / FUNCTION)]
    if PYTHON_VARIABLE not in pack.variables:
        options += ["--env", f"{PYTHON_VARIABLE}={order.python}.*"]
    if pack.variables:
        options += ["--env-file", str(folder / VARIABLES)]
    for source, target in pack.volumes:
        options += ["--volume", f"{source}:{target}"]
    if order.push:
        options += ["--publish", f"--report-output-dir={folder}"]
        if order.here:
            options.append("--network=host")  # it is pushed from a container, where this machine's loopback is another
        elif order.plain_image:
            options.append(f"--insecure-registry={host}")
    elif pack.same_socket:  # a container gives the image to the daemon, whose socket it gets: the one of DOCKER_HOST
        options.append("--docker-host=inherit")
    return [Command(["pack", "build", order.image, *options])]


def _common(order: ForeignBuild, folder: Path) -> list[str]:
    return [f"--platform={','.join(map(str, order.platforms))}", "--file", str(folder / CONTAINERFILE)]


def write_settings(builder: Builder, order: ForeignBuild, folder: Path) -> None:
    """What the program reads beside the folder's contents. Raises StartupError."""
    if builder == "pack":
        _write_variables(order.pack.variables, folder)
    elif order.authorities:
        _write_authorities(order.authorities, folder)


def _write_variables(variables: dict[str, str], folder: Path) -> None:
    """The variables of a build by pack: everybody on the machine sees a command, and its words."""
    for name, value in variables.items():
        if "\n" in value or value != value.strip():
            raise StartupError(f"pack takes a variable of one line without spaces around it: correct {name} of build.buildEnvs")
    if variables:
        (folder / VARIABLES).write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")


def _write_authorities(file: str, folder: Path) -> None:
    """The certificates that Podman and Buildah trust, as they want them."""
    (folder / CERTIFICATES).mkdir()
    try:
        shutil.copyfile(file, folder / CERTIFICATES / "ca.crt")
    except OSError as error:
        raise StartupError(f"cannot read the certificates in {file}: {error.strerror}; correct --ca") from None


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
    program, ordered = find_program(builder, environ), commands(builder, order, folder)
    try:
        for command in ordered:
            if not command.tidies:
                _start(program, command, environ)
    finally:
        for command in ordered:
            if command.tidies:
                _start(program, command, environ)
    return noted_digest(folder, order.image)


def _start(program: str, command: Command, environ: Mapping[str, str]) -> None:
    """Run the command to its end. Raises BuildError."""
    told = subprocess.DEVNULL if command.may_fail else None
    with command.answer.open("wb") if command.answer else nullcontext(told or 2) as output:
        done = subprocess.run(
            [program, *command.words[1:]], env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=told, check=False
        )
    if done.returncode and not command.may_fail:
        said = " ".join(command.words[:2])
        raise BuildError(f"`{said}` failed with exit status {done.returncode}; its own words are above")


def noted_digest(folder: Path, image: str) -> str:
    """The digest that the program has noted for an image; empty where it has none, or several."""
    if (folder / METADATA).is_file():
        with suppress(msgspec.MsgspecError):
            noted = msgspec.json.decode((folder / METADATA).read_bytes(), type=dict[str, msgspec.Raw])
            return msgspec.json.decode(noted.get("containerimage.digest", b'""'), type=str)
    if (folder / REPORT).is_file():
        with suppress(msgspec.MsgspecError):
            report = msgspec.toml.decode((folder / REPORT).read_bytes(), type=dict[str, dict[str, Any]])
            return str(report.get("image", {}).get("digest", ""))
    lines = (folder / DIGEST).read_text(errors="replace").split() if (folder / DIGEST).is_file() else []
    name = parse_reference(image).name
    names = {"", name, name.removeprefix(f"{DOCKER_HUB}/")}  # as Docker shows it
    found = {digest for named, _, digest in (line.rpartition("@") for line in lines if NOTED.fullmatch(line)) if named in names}
    return found.pop() if len(found) == 1 else ""
