"""Which image a command brings to the cluster: one that is named, or the folder's as it is now, built and pushed."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET, Struct
from msgspec.structs import replace

from kfunc.cli.render import parse_digest, parse_image
from kfunc.manifests.plan import Plan, Release


class Source(Struct, frozen=True):
    """The options below, as they were given."""

    image: str = ""
    digest: str = ""
    base: str = ""
    insecure: bool = False
    authorities: str = ""
    no_build: bool = False

    @property
    def release(self) -> Release:
        """What is said of the image before anything is built."""
        return Release(self.image, self.digest)

    @property
    def is_named(self) -> bool:
        """Whether the image is one that is there: nothing is built."""
        return bool(self.image or self.digest or self.no_build)


OPTIONS = (
    click.option(
        "--image", metavar="IMAGE", default="", callback=parse_image, help="An image that is there: nothing is built."
    ),
    click.option(
        "--image-digest", metavar="DIGEST", default="", callback=parse_digest, help="Digest of the pushed image, sha256:…"
    ),
    click.option(
        "--base", metavar="IMAGE", default="", help="Base image of the build; else func.yaml's, else python:VERSION-slim."
    ),
    click.option("--insecure", is_flag=True, help="The registry may have any certificate, or speak plain HTTP."),
    click.option("--ca", "authorities", metavar="FILE", default="", help="Certificates of authorities of the registry, PEM."),
    click.option("--no-build", is_flag=True, help="Take the image that func.yaml names as it is in its registry."),
)


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that brings an image to the cluster; it gets a Source made of them."""

    @wraps(command)
    def with_source(
        image: str, image_digest: str, base: str, insecure: bool, authorities: str, no_build: bool, **others: Any
    ) -> Any:
        source = Source(image, image_digest, base, insecure, authorities, no_build)
        if source.is_named and (base or insecure or authorities):
            raise click.UsageError(
                "--base, --insecure and --ca are for a build, and --image, --image-digest and --no-build say that there is none"
            )
        return command(source=source, **others)

    made: Callable[..., Any] = with_source
    for option in reversed(OPTIONS):
        made = option(made)
    return made


def with_image(plan: Plan, directory: Path, source: Source) -> Plan:
    """The plan with the image of its folder, by digest, where none was named: built, and what is new of it pushed."""
    if source.is_named or plan.function.inference.server is not UNSET:
        return plan
    return replace(plan, release=built(directory, source))


def built(directory: Path, source: Source) -> Release:
    """The image of the folder as it is now, in its registry; what is there already is not sent again."""
    from kfunc.cli.build import Order, build_image
    from kfunc.cli.build_options import Asked
    from kfunc.cli.build_progress import Lines

    order = Order(asked=Asked(source.base), insecure=source.insecure, authorities=source.authorities)
    made = build_image(directory, order, Lines(), os.environ)
    return Release(made.image, made.digest)
