"""`kfunc build --builder`: kfunc makes the layers, and docker, podman, buildah or pack the image of them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from kfunc.cli.build_options import DEFAULT_BASE, PYTHON
from kfunc.errors import RegistryError, StartupError
from kfunc.images.application import write_application
from kfunc.images.building import build_contents
from kfunc.images.containerfile import BASES_PATH, write_context
from kfunc.images.foreign import Builder, ForeignBuild, find_program, run, write_authorities
from kfunc.images.recipes import Recipe, settings
from kfunc.images.reporter import Reporter
from kfunc.images.store import open_store
from kfunc.images.transport import Transport, Trust
from kfunc.registries.references import Reference, is_loopback, parse_reference


class ForeignOrder(Struct, frozen=True):
    """Which program makes which image. `stack` is pack's builder image."""

    builder: Builder
    target: Reference
    trust: Trust
    push: bool
    refresh: bool
    stack: str


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
        stack=order.stack,
    )
    if order.builder == "docker" and (order.trust.insecure or order.trust.authorities):
        reporter.say("note: docker's daemon decides which registries it trusts: insecure-registries of daemon.json, or certs.d")
    with tempfile.TemporaryDirectory(prefix="kfunc-build-") as path:
        folder = Path(path)
        if order.builder == "pack":
            write_application(folder, recipe, reporter)
        else:
            _write_layers(order, recipe, folder, reporter, environ)
            write_authorities(foreign, folder)
        digest = run(order.builder, foreign, folder, environ)
    if order.push and not digest:
        reporter.say(f"note: {order.builder} does not tell the digest of what it has pushed: the image has its tag alone")
    return digest


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
