"""What a model's URI or a file: sink names: a path. Pure."""

import re

from kfunc.config.places import MODELS

CLAIM = "pvc://"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def file_path(uri: str) -> str | None:
    """The path of `./model.onnx`, `file:model.onnx` or `file:///srv/model.onnx`; None if it names another host."""
    if not uri.startswith("file:"):
        return uri
    rest = uri.removeprefix("file:")
    if rest.startswith("//"):
        host, slash, rest = rest.removeprefix("//").partition("/")
        if host not in ("", "localhost") or not slash:
            return None
        rest = f"/{rest}"
    if "%" in rest:
        from urllib.parse import unquote  # here: it costs 2 ms of every start

        rest = unquote(rest)
    return rest or None


def claim(uri: str) -> tuple[str, str] | None:
    """The claim of `pvc://NAME/path` and the path within it; None for another URI."""
    if not uri.startswith(CLAIM):
        return None
    name, _, path = uri.removeprefix(CLAIM).partition("/")
    return name, path


def claim_mount(uri: str) -> str:
    """The path in the pod of a model on a claim; empty for another URI."""
    found = claim(uri)
    return "/".join(part for part in (MODELS, *found) if part) if found else ""
