"""Every string of traffic, access, egress, raw mode and monitoring: refused, or rendered as itself and nothing else."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from kfunc.config.complete import complete
from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, StartupError
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Plan, Release
from kfunc.manifests.yaml_text import write
from tests.config.test_function import FILES
from tests.oracles import Oracle
from tests.oracles.test_oracles import complaints

BLOCKS = ("traffic", "access", "egress", "raw", "monitoring")
HOSTILE = {
    "quotes": "a'b\"c",
    "a line end": "a\nb: c",
    "a document": "a\n---\nkind: Secret\n",
    "a variable": "$(PORT)",
    "a template": "{{ $value }}",
    "a YAML tag": "!!python/object:os.system",
    "an alias": "*a",
    "PromQL": '"} or vector(1) #',
    "a boolean": "yes",
    "a number": "1e3",
    "null": "~",
    "unicode": "ü 😀 \u2028\u202e",
    "a control character": "a\x1b[31m",
    "spaces": "  a  ",
    "a path": "../../etc/passwd",
    "1 MB": "x" * 1_000_000,
}
Path = tuple[str | int, ...]


def strings(value: Any, path: Path = ()) -> Iterator[Path]:
    """The places of all strings."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from strings(inside, (*path, key))
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            yield from strings(inside, (*path, number))


def replaced(value: Any, path: Path, text: str) -> Any:
    """The value with another string at the path."""
    if not path:
        return text
    first, rest = path[0], path[1:]
    if isinstance(value, list):
        return [replaced(inside, rest, text) if number == first else inside for number, inside in enumerate(value)]
    return {key: replaced(inside, rest, text) if key == first else inside for key, inside in value.items()}


def small(document: Any, block: str) -> Any:
    """The document with no other block than this one."""
    inference = document["inference"]
    kept = {key: inference[key] for key in ("mode", "visibility", block) if key in inference}
    return {"name": "iris", "image": "a/iris", "inference": {"model": {"uri": "m"}, **kept}}


def places() -> list[tuple[Any, Path]]:
    """Every string of the files that have every setting, once, with a file that has it."""
    found: dict[Path, Any] = {}
    for source in FILES:
        for path in strings(source.value):
            if path[0] == "inference" and path[1] in BLOCKS:
                found.setdefault(path, small(source.value, str(path[1])))
    return [(document, path) for path, document in found.items()]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_string_is_refused_or_rendered_as_itself(istio: Oracle, kubernetes: Oracle, hostile: str) -> None:
    text = HOSTILE[hostile]
    some = slice(None, None, 12 if hostile == "1 MB" else 1)  # reading one takes half a second
    for document, path in places()[some]:
        try:
            function = read_function(parse_source(write(replaced(document, path, text)).encode()))
            variants = function.inference.traffic is not UNSET and function.inference.traffic.variants
            release = Release(stable="" if variants else "iris-1")
            rendered = render(Plan(function, complete(function, "onnx"), release, function.inference.mode))
        except (ConfigError, StartupError):
            continue
        kept: Any = msgspec.to_builtins(function)
        for part in path:
            kept = kept[part]
        assert kept == text, path
        manifests = [manifest for manifests in rendered.files.values() for manifest in manifests]
        assert complaints(manifests, istio, kubernetes) == [], path


def test_there_are_strings_to_replace() -> None:
    assert len(places()) > 60
    for document, _ in places():
        read_function(parse_source(write(document).encode()))
