"""`kfunc build`: the function's image, made here and pushed, without a container tool."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kfunc.cli.build_foreign import ForeignOrder, build_by, pack_settings
from kfunc.cli.build_options import Asked, function_recipe, insecure_hosts, sidecar_recipe, variant_of
from kfunc.cli.build_progress import Lines
from kfunc.cli.function import find, runtime_of
from kfunc.cli.render import parse_image
from kfunc.cli.validate import check
from kfunc.config.build import PythonVersion
from kfunc.config.complete import complete
from kfunc.config.function import Function
from kfunc.config.load import load_function
from kfunc.errors import StartupError
from kfunc.images.bases import NOTHING
from kfunc.images.building import Product, build
from kfunc.images.foreign import Builder, Pack
from kfunc.images.layouts import Loadable, write_docker_archive, write_layout
from kfunc.images.platforms import PLATFORMS
from kfunc.images.pushing import Push, Pushed
from kfunc.images.recipes import Recipe
from kfunc.images.registry import Registry
from kfunc.images.reporter import Reporter, megabytes
from kfunc.images.store import open_store
from kfunc.images.transport import Transport, Trust
from kfunc.manifests.images import function_image, with_variant
from kfunc.manifests.plan import Plan, Release
from kfunc.registries.references import DEFAULT_TAG, Reference, parse_reference

EPILOG = """\b
Example:
  kfunc build --image registry.example.com/me/iris:1
  kfunc build --platform linux/amd64 --platform linux/arm64
  kfunc build --image iris:1 --output docker-archive:iris.tar && docker load -i iris.tar
"""
OCI, ARCHIVE = "oci", "docker-archive"
OUTPUT_HELP = f"{OCI}:DIR or {ARCHIVE}:FILE writes the image; json prints the result so."


class Order(Struct, frozen=True, kw_only=True):
    """What a build is asked for beside the function. `outputs` are oci:DIR and docker-archive:FILE."""

    image: str = ""
    asked: Asked = Asked()
    sidecar: bool = False
    outputs: tuple[str, ...] = ()
    push: bool = True
    insecure: bool = False
    authorities: str = ""
    refresh: bool = False
    builder: Builder | None = None


class Built(Struct, frozen=True):
    """The image: its name with the tag, and the digest of what that is; empty where the program that made it tells none.

    `size` is in bytes, beside the base image's; None where another program has made it.
    """

    image: str
    digest: str
    size: int | None
    platforms: list[str]
    pushed: Pushed | None = None

    @property
    def by_digest(self) -> str:
        """The name that always means this image."""
        return f"{parse_reference(self.image).name}@{self.digest}" if self.digest else self.image


def build_image(path: Path, order: Order, reporter: Reporter, environ: Mapping[str, str]) -> Built:
    """Make the image of the function at `path`, and push or write it. Raises StartupError, BuildError and their kinds."""
    if order.sidecar:
        if not order.image:
            raise StartupError("--sidecar needs a name: give --image REGISTRY/NAME:TAG")
        recipe = sidecar_recipe("kfunc-sidecar", order.asked)
        return _deliver(recipe, parse_reference(order.image), order, None, reporter, environ, Pack())
    file = find(path).absolute()  # pip runs in the function's folder, and gets paths of it
    check(file)
    function = load_function(file)
    runtime, _ = runtime_of(function, file.parent)
    config = complete(function, runtime)
    plan = Plan(function, config, Release(order.image))
    variant = variant_of(plan, order.asked.variant)
    target = _target(plan, variant, order)
    recipe = function_recipe(function, config.function, file.parent, variant, order.asked)
    if order.asked.weights_only and recipe.base == NOTHING:
        reporter.say("note: for image volumes; KServe's modelcars start sh in the image: for them give --base busybox")
    pack = pack_settings(function, file.parent, environ) if order.builder == "pack" else Pack()
    return _deliver(recipe, target, order, function, reporter, environ, pack)


def _target(plan: Plan, variant: str, order: Order) -> Reference:
    """The name under which the image goes to its registry: --image, or func.yaml's with the variant's tag."""
    if order.image:
        return parse_reference(order.image)
    bare = replace(plan.config, accelerator="cpu")
    function = replace(plan.function, inference=replace(plan.function.inference, gpu=msgspec.UNSET))
    named = parse_reference(function_image(replace(plan, config=bare, function=function)))
    tagged = replace(named, digest="", tag=named.tag or DEFAULT_TAG)
    return tagged if variant == "cpu" or order.asked.weights_only else parse_reference(with_variant(str(tagged), variant))


def _deliver(
    recipe: Recipe,
    target: Reference,
    order: Order,
    function: Function | None,
    reporter: Reporter,
    environ: Mapping[str, str],
    pack: Pack,
) -> Built:
    target = replace(target, digest="", tag=target.tag or DEFAULT_TAG)
    if order.push and target.is_official:
        raise StartupError(
            f"{target.name} would be one of Docker Hub's own images: write it like registry.example.com/team/iris:1,"
            " for Docker Hub me/iris:1, or give --no-push"
        )
    trust = Trust(insecure_hosts(target.host, order.insecure, function), order.authorities)
    if order.builder:
        if order.outputs:
            raise StartupError("--output is of kfunc's own builder: leave it or --builder out")
        foreign = ForeignOrder(order.builder, target, trust, order.push, order.refresh, pack)
        digest = build_by(foreign, recipe, reporter, environ)
        return Built(str(target), digest, None, [str(platform) for platform in recipe.platforms])
    if len(recipe.platforms) > 1 and any(output.startswith(f"{ARCHIVE}:") for output in order.outputs):
        raise StartupError(f"a {ARCHIVE} holds one platform: choose it with --platform, or write {OCI}:DIR")
    store = open_store(environ)
    with Transport(trust, environ) as transport:
        product = build(recipe, store, transport, reporter, environ, order.refresh)
        for output in order.outputs:
            _write(output, product, str(target), reporter)
        pushed = None
        if order.push:
            pushed = Push(Registry(target, transport, environ, "pull,push"), store, reporter).run(product, target.tag)
            reporter.say(f"pushed {target}: {pushed.blobs} blobs, {megabytes(pushed.sent)}; {pushed.there} were there")
    size = max(image.size for image in product.images)
    reporter.say(f"{megabytes(size)} beside the base image {recipe.base}")
    return Built(str(target), product.root.digest, size, [str(image.platform) for image in product.images], pushed)


def _write(output: str, product: Product, name: str, reporter: Reporter) -> None:
    """One --output. Raises BuildError."""
    kind, _, place = output.partition(":")
    if kind == OCI:
        write_layout(Path(place), [product.descriptor, *(image.artifact for image in product.images)], product.blobs(), name)
    else:
        image = product.images[0]
        write_docker_archive(Path(place), Loadable(image.config, image.all_layers()), name)
    reporter.say(f"wrote {place}")


def parse_outputs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The values of `--output`."""
    for value in values:
        kind, _, place = value.partition(":")
        if value not in ("text", "json") and (kind not in (OCI, ARCHIVE) or not place):
            raise click.BadParameter(f"{value!r} is none of text, json, {OCI}:DIR and {ARCHIVE}:FILE")
    return values


def parse_python(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The value of `--python`."""
    try:
        return msgspec.convert(value, PythonVersion) if value else ""
    except msgspec.ValidationError:
        raise click.BadParameter(f"{value!r} is no minor version of Python from 3.11 on, such as 3.12") from None


@click.command("build", epilog=EPILOG)
@click.argument("path", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("--image", metavar="IMAGE", default="", callback=parse_image, help="Name of the image; else func.yaml's.")
@click.option(
    "--base", metavar="IMAGE", default="", help="Base image, or oci:DIR[:TAG]; else func.yaml's, else python:VERSION-slim."
)
@click.option("--variant", type=click.Choice(["cpu", "cuda"]), help="Libraries for CUDA, or none; else as func.yaml needs.")
@click.option("--platform", "platforms", multiple=True, type=click.Choice(list(PLATFORMS)), help="Again for more, as an index.")
@click.option(
    "--python",
    metavar="VERSION",
    default="",
    callback=parse_python,
    help="Python of a base image that does not say it, as 3.12.",
)
@click.option("--output", "outputs", metavar="FORM", multiple=True, callback=parse_outputs, help=OUTPUT_HELP)
@click.option("--push/--no-push", default=None, help="Push it, the default unless it is written to a place.")
@click.option("--weights-only", is_flag=True, help="Only the model, in /models, for image volumes and KServe's modelcars.")
@click.option("--sidecar", is_flag=True, help="The image of batcher and logger alone, for somebody else's server.")
@click.option("--insecure", is_flag=True, help="The registry may have any certificate, or speak plain HTTP.")
@click.option("--ca", "authorities", metavar="FILE", default="", help="Certificates of authorities of the registry, PEM.")
@click.option("--builder", type=click.Choice(get_args(Builder)), help="Another program makes it, from files that kfunc writes.")
@click.option("--refresh", is_flag=True, help="Ask for the packages anew, though nothing has changed here.")
def build_command(
    path: Path,
    image: str,
    base: str,
    variant: str | None,
    platforms: tuple[str, ...],
    python: str,
    outputs: tuple[str, ...],
    push: bool | None,
    weights_only: bool,
    sidecar: bool,
    insecure: bool,
    authorities: str,
    builder: Builder | None,
    refresh: bool,
) -> int:
    """Make the image of the function in DIR (default: here), and push it.

    No container tool and no root is needed, and nothing of the function is run. Packages, kfunc,
    weights and code are layers of their own; equal input gives an equal image. Credentials are
    those of docker login or podman login. On standard output is the image's name with its digest.
    """
    places = tuple(value for value in outputs if value not in ("text", "json"))
    asked = Asked(base, variant or "", platforms, python, weights_only)
    order = Order(
        image=image,
        asked=asked,
        sidecar=sidecar,
        outputs=places,
        push=not places if push is None else push,
        insecure=insecure,
        authorities=authorities,
        refresh=refresh,
        builder=builder,
    )
    built = build_image(path, order, Lines(), os.environ)
    document = {"image": built.image, "digest": built.digest or None, "size": built.size, "platforms": built.platforms}
    click.echo(msgspec.json.encode(document | {"pushed": built.pushed}) if "json" in outputs else built.by_digest)
    return 0
