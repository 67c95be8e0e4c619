"""Which image a container runs."""

import pytest

from kfunc.errors import StartupError
from kfunc.manifests.images import function_image, sidecar_image
from kfunc.manifests.plan import Release
from tests.manifests import plan_of

DIGEST = "sha256:" + "0" * 64
LEAST = "name: iris\n%s\ninference: {model: {uri: m.onnx}%s}\n"


@pytest.mark.parametrize(
    ("named", "more", "release", "image"),
    [
        ("image: example.com/iris", "", Release(), "example.com/iris"),
        ("registry: example.com/team/", "", Release(), "example.com/team/iris"),
        (f"deploy: {{image: example.com/iris@{DIGEST}}}", "", Release(), f"example.com/iris@{DIGEST}"),
        ("image: example.com/iris", "", Release(image="b:1"), "b:1"),
        ("image: example.com/iris", "", Release(digest=DIGEST), f"example.com/iris@{DIGEST}"),
        ("image: localhost:5000/iris:1", "", Release(digest=DIGEST), f"localhost:5000/iris@{DIGEST}"),
        ("image: example.com/iris:1", "gpu: {}", Release(), "example.com/iris:1-cuda"),
        ("image: localhost:5000/iris", "gpu: {}", Release(), "localhost:5000/iris:latest-cuda"),
        ("image: example.com/iris:1", "gpu: {vendor: amd}", Release(), "example.com/iris:1-rocm"),
        ("image: example.com/iris:1", "gpu: {vendor: intel}", Release(), "example.com/iris:1-openvino"),
        ("image: example.com/iris:1", "accelerator: cuda", Release(), "example.com/iris:1-cuda"),
        (f"image: example.com/iris@{DIGEST}", "gpu: {}", Release(), f"example.com/iris@{DIGEST}"),
        ("image: example.com/iris:1", "gpu: {}", Release(image="b:1"), "b:1"),
    ],
)
def test_the_image_is_the_given_one_or_func_yamls_in_the_variant_of_its_accelerator(
    named: str, more: str, release: Release, image: str
) -> None:
    assert function_image(plan_of(LEAST % (named, f", {more}" if more else ""), release)) == image


def test_without_any_it_says_what_to_do() -> None:
    with pytest.raises(StartupError, match="give --image"):
        function_image(plan_of(LEAST % ("", ""), Release()))


def test_sidecars_of_a_foreign_server_have_their_own_image_and_need_none_of_the_functions() -> None:
    server = ", logger: {}, server: {kind: triton, image: example.com/triton, sidecar_image: example.com/kfunc:1}"
    assert sidecar_image(plan_of(LEAST % ("", server), Release())) == "example.com/kfunc:1"
