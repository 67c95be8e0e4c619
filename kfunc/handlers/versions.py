"""Versions of the libraries under the runtimes: what is installed, what func.yaml pins, what a model file was saved by."""

import re
from pathlib import Path

from kfunc.errors import ModelLoadError


def installed(distributions: tuple[str, ...]) -> tuple[str, str]:
    """Name and version of the first of these distributions that is here; both empty where none is."""
    from importlib import metadata  # here: it costs a start 20 ms

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


def require_safe(path: Path, name: str, here: str, least: str) -> None:
    """Refuses a file that nobody vouches for where the library that looks into it is known to miss code.

    Raises ModelLoadError.
    """
    if release(here) < release(least):
        raise ModelLoadError(
            f"{path}: {name} {here} misses code in files like this: pip install '{name}>={least}', "
            "or set model.trust: true and model.digest if the file is yours"
        )


def require_pinned(runtime: str, pin: str) -> None:
    """Holds the installed library against func.yaml's version, as pip reads it: 1.20 is 1.20.0, and 1.20.* any of them.

    For python it is Python's own, as far as the pin goes. Raises ModelLoadError.
    """
    import platform

    from kfunc.handlers.registry import RUNTIMES

    name, here = installed(RUNTIMES[runtime].distributions) if runtime != "python" else ("Python", platform.python_version())
    if not here or is_version(here, pin, prefix=runtime == "python"):
        return
    way = f"pip install {requirement(runtime, pin)}" if runtime != "python" else f"use Python {pin}"
    raise ModelLoadError(f"func.yaml wants {name} {pin} (inference.model.runtime), installed is {here}: {way}, or change it")


def is_version(version: str, pin: str, *, prefix: bool = False) -> bool:
    """Whether a version is the one that is pinned; `prefix`: or begins with it."""
    if pin.endswith(".*") or prefix:
        wanted = pin.removesuffix(".*").split(".")
        return version.split("+")[0].split(".")[: len(wanted)] == wanted
    public = version.split("+")[0]
    numbers = set(public + pin) <= set("0123456789.")
    return pin in (version, public) or (numbers and release(public) == release(pin))


def requirement(runtime: str, pin: str) -> str | None:
    """What pip installs for a pinned runtime; None for python, whose version is the interpreter's."""
    from kfunc.handlers.registry import RUNTIMES

    distributions = RUNTIMES[runtime].distributions
    return f"{installed(distributions)[0] or distributions[0]}=={pin}" if distributions else None
