"""Base images whose documents are not what they should be."""

from typing import Any

import msgspec
import pytest

from kfunc.errors import BuildError, RegistryError
from kfunc.images.bases import Source, read_base
from kfunc.images.documents import CONFIG, INDEX, MANIFEST, Descriptor, digest_of
from kfunc.images.platforms import PLATFORMS
from kfunc.images.store import Blob, Store

AMD64 = PLATFORMS["linux/amd64"]
CONFIGURATION = {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}}


def source(store: Store, configuration: dict[str, Any], **manifest: Any) -> Source:
    made = msgspec.json.encode(configuration)
    described = {"mediaType": CONFIG, "digest": digest_of(made), "size": len(made)}
    document = msgspec.json.encode({"config": described, "layers": [], **manifest})
    root = Descriptor(MANIFEST, digest_of(document), len(document))
    return Source("base:1", lambda wanted: (root, document), lambda layer: store.add(made, CONFIG), "1")


def test_a_base_that_cannot_be_had_is_named_as_the_base_with_what_names_another() -> None:
    def unreachable(wanted: str) -> tuple[Descriptor, bytes]:
        raise RegistryError("docker.io cannot be reached: no route to host")

    with pytest.raises(RegistryError) as raised:
        read_base(Source("python:3.12-slim", unreachable, unused, "3.12-slim"), AMD64)
    assert raised.value.message == (
        "the base image python:3.12-slim: docker.io cannot be reached: no route to host; "
        "--base or inference.build.base names another base image"
    )


def unused(layer: Descriptor) -> Blob:
    raise AssertionError(layer)


def test_what_a_configuration_leaves_out_or_has_as_null_is_nothing(store: Store) -> None:
    base = read_base(source(store, CONFIGURATION | {"config": {"Env": None, "Labels": None}, "history": None}), AMD64)
    assert (base.python, base.layers) == ("", [])


@pytest.mark.parametrize(
    "fields",
    [
        {"config": []},
        {"config": {"Env": [1]}},
        {"config": {"Env": "PATH=/bin"}},
        {"config": {"Labels": ["a=b"]}},
        {"rootfs": [1]},
        {"rootfs": {"diff_ids": 1}},
        {"history": 1},
    ],
)
def test_a_configuration_of_another_form_is_refused(store: Store, fields: dict[str, Any]) -> None:
    with pytest.raises(BuildError, match=r"the base image base:1 is damaged .*choose another with --base"):
        read_base(source(store, CONFIGURATION | fields), AMD64)


@pytest.mark.parametrize("fields", [{"layers": 1}, {"layers": [1]}, {"config": []}, {"config": {}}])
def test_a_manifest_of_another_form_is_refused(store: Store, fields: dict[str, Any]) -> None:
    with pytest.raises(BuildError, match="choose another"):
        read_base(source(store, CONFIGURATION, **fields), AMD64)


def test_of_the_variants_of_a_platform_the_oldest_is_taken(store: Store) -> None:
    asked: list[str] = []
    image = source(store, CONFIGURATION)
    listed = [
        {
            "mediaType": MANIFEST,
            "digest": "sha256:" + digit * 64,
            "size": 1,
            "platform": {"architecture": "amd64", "os": "linux"},
        }
        for digit in "1234"
    ]
    for entry, variant in zip(listed, ("v3", "v2", None, "v4"), strict=True):
        entry["platform"] |= {"variant": variant} if variant else {}  # type: ignore[operator]
    document = msgspec.json.encode({"manifests": listed})

    def manifest(wanted: str) -> tuple[Descriptor, bytes]:
        asked.append(wanted)
        return (Descriptor(INDEX, digest_of(document), len(document)), document) if wanted == "1" else image.manifest(wanted)

    read_base(Source("base:1", manifest, image.fetch, "1"), AMD64)
    assert asked == ["1", "sha256:" + "3" * 64]
