"""Versions of the libraries under the runtimes: what is installed, what func.yaml pins, what a model file was saved by."""

import re
from importlib import metadata
from pathlib import Path

from kfunc.errors import ModelLoadError


def installed(distributions: tuple[str, ...]) -> tuple[str, str]:
    """Name and version of the first of these distributions that is here; both empty where none is."""
    for name in distributions:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "", ""


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: (1, 2) of 1.2.0rc1+cpu."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def require_not_newer(path: Path, runtime: str, saved_by: str) -> None:
    """Refuses a model that a newer release of the library has saved: what it means may not be known here.

    `saved_by` counts as far as it goes: "3.2" is the release of 3.2.1. Raises ModelLoadError.
    """
    from kfunc.handlers.registry import RUNTIMES

    name, here = installed(RUNTIMES[runtime].distributions)
    width = saved_by.count(".") + 1
    if here and release(saved_by) > release(".".join(here.split(".")[:width])):
        raise ModelLoadError(
            f"{path}: was saved by {name} {saved_by}, newer than {here}, which is installed: "
            f"install {name} {saved_by}, or save the model with {here}"
        )
