"""What an image is to be made of: the plan of a build, without anything read yet. Pure."""

from pathlib import Path

from msgspec import Struct

from kfunc.images.documents import Settings
from kfunc.images.places import FUNCTION, HOME, LIBRARIES, MODELS, USER
from kfunc.images.platforms import OLDEST_GLIBC, Platform

GPU_VARIABLES = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
"""NVIDIA's container runtime leaves a container without the first alone; the second names the driver's libraries for CUDA.
In a cluster the device plugin replaces the first by the pod's own GPUs."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Libraries(Struct, frozen=True):
    """The Python packages of an image: kfunc with extras, further ones, and a requirements.txt; `glibc` is the base's."""

    extras: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    file: Path | None = None
    wheels: Path | None = None
    glibc: str = OLDEST_GLIBC


class Recipe(Struct, frozen=True, kw_only=True):
    """An image. `libraries` is None for one of weights only; `folder` None for the sidecars'.

    `models` are those of the folder; `has_code` says that its other files belong to them, else `files`. `python` is the minor
    version of the base image's Python, where the base does not say it.
    """

    name: str
    base: str
    platforms: tuple[Platform, ...]
    libraries: Libraries | None = None
    folder: Path | None = None
    models: tuple[Path, ...] = ()
    has_code: bool = False
    files: tuple[Path, ...] = ()
    python: str = ""
    gpu: bool = False
    module: str = "kfunc.handlers"
    labels: dict[str, str] = {}


def settings(recipe: Recipe, path: str) -> Settings:
    """How the image's process is started; `path` is the base's PATH."""
    labels = {"org.opencontainers.image.title": recipe.name, **recipe.labels}
    user = f"{USER}:{USER}"
    if recipe.libraries is None:
        return Settings(user, f"/{MODELS}", labels=labels)
    variables = {"PYTHONPATH": f"/{LIBRARIES}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": f"{path or PATH}:/{HOME}/bin"}
    if recipe.gpu:
        variables |= GPU_VARIABLES
    folder = f"/{FUNCTION}" if recipe.folder else "/"
    # -P: a file of the function's that is named like a module must not shadow it.
    return Settings(user, folder, variables, ["python", "-P", "-m", recipe.module], ["--listen=0.0.0.0:8080"], [8080], labels)
