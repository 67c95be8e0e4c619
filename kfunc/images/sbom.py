"""The list of what is in an image, as CycloneDX 1.6 in JSON. Equal images have equal lists: no time, no random number. Pure."""

from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from msgspec import Struct

from kfunc.images.documents import Json, encode
from kfunc.images.wheels import Package

MEDIA_TYPE = "application/vnd.cyclonedx+json"
VERSION = "1.6"
MODEL = "machine-learning-model"


class Weights(Struct, frozen=True):
    """A file of weights; `digest` in hexadecimal digits."""

    name: str
    digest: str


class Contents(Struct, frozen=True):
    """What an image is made of."""

    name: str
    digest: str
    base: str
    base_digest: str
    packages: list[Package]
    weights: list[Weights]
    tool: str


def render(contents: Contents) -> bytes:
    """The document."""
    packages = sorted(contents.packages, key=lambda package: package.name)
    known = {package.name: _reference(package) for package in packages}
    root = f"image:{contents.name}"
    base = _base(contents)
    components = [*base, *(_package(each) for each in packages), *(_weights(each) for each in contents.weights)]
    needed = {name for package in packages for name in package.requires}
    direct = [known[name] for name in sorted(known) if name not in needed]
    dependencies = [
        {"ref": known[package.name], "dependsOn": sorted({known[name] for name in package.requires if name in known})}
        for package in packages
    ]
    document: Json = {
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, contents.digest)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "kfunc", "version": contents.tool}]},
            "component": {"type": "container", "bom-ref": root, "name": contents.name, "version": contents.digest},
        },
        "components": components,
        "dependencies": [{"ref": root, "dependsOn": [*(each["bom-ref"] for each in base), *direct]}, *dependencies],
    }
    return encode(document)


def _reference(package: Package) -> str:
    return f"pkg:pypi/{package.name}@{quote(package.version, safe='')}"


def _package(package: Package) -> Json:
    reference = _reference(package)
    made: Json = {"type": "library", "bom-ref": reference, "name": package.name, "version": package.version, "purl": reference}
    if package.digest:
        made["hashes"] = [{"alg": "SHA-256", "content": package.digest}]
    if package.licence:
        made["licenses"] = [{"expression": package.licence} if package.expression else {"license": {"name": package.licence}}]
    return made


def _weights(weights: Weights) -> Json:
    hashes = [{"alg": "SHA-256", "content": weights.digest}]
    return {"type": MODEL, "bom-ref": f"file:{weights.name}", "name": weights.name, "hashes": hashes}


def _base(contents: Contents) -> list[Json]:
    if not contents.base_digest:
        return []
    return [{"type": "container", "bom-ref": f"base:{contents.base}", "name": contents.base, "version": contents.base_digest}]
