"""`kfunc build --builder`: kfunc makes the layers, and docker, podman, buildah or pack the image of them."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import UNSET, Struct
from msgspec.structs import replace

from kfunc.cli.build_options import DEFAULT_BASE, PYTHON
from kfunc.cli.render import local_values
from kfunc.config.function import Function
from kfunc.errors import RegistryError, StartupError
from kfunc.images.application import write_application
from kfunc.images.building import build_contents
from kfunc.images.containerfile import BASES_PATH, write_context
from kfunc.images.foreign import PACK_BUILDER, Builder, ForeignBuild, Pack, find_program, run, write_settings
from kfunc.images.recipes import Recipe, settings
from kfunc.images.reporter import Reporter
from kfunc.images.store import open_store
from kfunc.images.transport import Transport, Trust
from kfunc.registries.references import Reference, is_loopback, parse_reference


class ForeignOrder(Struct, frozen=True):
    """Which program makes which image."""

    builder: Builder
    target: Reference
    trust: Trust
    push: bool
    refresh: bool
    pack: Pack = Pack()


def build_by(order: ForeignOrder, recipe: Recipe, reporter: Reporter, environ: Mapping[str, str]) -> str:
    """Make the image of a recipe by another program: its digest in the registry, empty: not known.

    Raises StartupError, BuildError.
    """
    _check(order, recipe)
    if recipe.base == DEFAULT_BASE:
        recipe = replace(recipe, python=PYTHON)  # as its name says: its registry need not be reached
    find_program(order.builder, environ)
    foreign = ForeignBuild(
        image=str(order.target),
        platforms=recipe.platforms,
        push=order.push,
        plain_base=_may_be_plain(parse_reference(recipe.base), order.trust),
        plain_image=_may_be_plain(order.target, order.trust),
        authorities=order.trust.authorities,
        python=recipe.python or PYTHON,
        here=is_loopback(order.target.host),
        pack=order.pack,
    )
    if order.builder == "docker" and (order.trust.insecure or order.trust.authorities):
        reporter.say("note: docker's daemon decides which registries it trusts: insecure-registries of daemon.json, or certs.d")
    if order.builder == "pack" and order.trust.authorities:
        reporter.say("note: --ca is not pack's: it trusts as this machine does, and its builder image as that image does")
    with tempfile.TemporaryDirectory(prefix="kfunc-build-") as path:
        folder = Path(path)
        if order.builder == "pack":
            write_application(folder, recipe, reporter)
        else:
            _write_layers(order, recipe, folder, reporter, environ)
        write_settings(order.builder, foreign, folder)
        digest = run(order.builder, foreign, folder, environ)
    if order.push and not digest:
        reporter.say(f"note: {order.builder} does not tell the digest of what it has pushed: the image has its tag alone")
    return digest


def pack_settings(function: Function, folder: Path, environ: Mapping[str, str]) -> Pack:
    """What func.yaml says of a build by pack. Raises StartupError for a variable that is not set here."""
    build = function.build
    variables = local_values(build.build_envs, environ, "build.buildEnvs")
    return Pack(
        stack=build.builder_images.get("pack", PACK_BUILDER),
        buildpacks=tuple(str(folder / name) if name.startswith(".") else name for name in build.buildpacks),
        volumes=tuple((folder / volume.host_path, volume.path) for volume in build.volumes),
        variables={env.name: env.value for env in variables if env.name is not UNSET and env.value is not UNSET},
        same_socket=sys.platform == "linux",  # elsewhere it is in a virtual machine
    )


def _check(order: ForeignOrder, recipe: Recipe) -> None:
    if recipe.libraries is None:
        raise StartupError("--weights-only needs no builder: leave --builder out")
    if recipe.base.startswith("oci:"):
        raise StartupError(f"{order.builder} takes a base image of a registry, not a folder: correct --base")
    if order.builder == "pack" and len(recipe.platforms) > 1:
        raise StartupError("pack builds for one platform: choose it with --platform, or leave --builder out")


def _may_be_plain(reference: Reference, trust: Trust) -> bool:
    """Whether a registry need not prove who it is: as kfunc itself takes it."""
    return reference.host in trust.insecure or (is_loopback(reference.host) and not trust.authorities)


def _write_layers(order: ForeignOrder, recipe: Recipe, folder: Path, reporter: Reporter, environ: Mapping[str, str]) -> None:
    with Transport(order.trust, environ) as transport:
        try:
            contents = build_contents(recipe, open_store(environ), transport, reporter, environ, order.refresh)
        except RegistryError as error:
            way = f"of an image that only {order.builder} has, --python 3.x says which Python is in it"
            raise RegistryError(f"{error.message}; {way}", error.code) from None
    write_context(folder, recipe.base, contents, settings(recipe, BASES_PATH))
