"""Which image each container runs: func.yaml's, in the variant that its accelerator needs, or the one that was given. Pure."""

from msgspec import UNSET

from kfunc.errors import StartupError
from kfunc.manifests.plan import Plan

VARIANTS = {"nvidia": "cuda", "amd": "rocm", "intel": "openvino"}
OF_ACCELERATORS = {
    "cuda": "cuda",
    "tensorrt": "cuda",
    "rocm": "rocm",
    "migraphx": "rocm",
    "xpu": "openvino",
    "openvino": "openvino",
}
DEFAULT_TAG = "latest"


def function_image(plan: Plan) -> str:
    """The function's image. Raises StartupError where nothing names one.

    An image given with the release is taken as it is; func.yaml's gets the variant's tag, iris:1-cuda.
    """
    function, release = plan.function, plan.release
    image = release.image or function.image or _of_registry(plan) or function.deploy.image
    if not image:
        raise StartupError("the function has no image: add image: REGISTRY/NAME to func.yaml, or give --image")
    if release.digest:
        return f"{_repository(image)}@{release.digest}"
    return image if release.image or "@" in image else with_variant(image, variant(plan))


def with_variant(image: str, variant: str) -> str:
    """The name of an image's variant: iris:1-cuda, iris:latest-cuda; the image itself for the one without a name."""
    if not variant:
        return image
    repository = _repository(image)
    return f"{repository}:{image.removeprefix(repository).removeprefix(':') or DEFAULT_TAG}-{variant}"


def sidecar_image(plan: Plan) -> str:
    """The image of batcher and logger: the function's own, so that a node pulls one."""
    server = plan.function.inference.server
    return function_image(plan) if server is UNSET else server.sidecar_image


def variant(plan: Plan) -> str:
    """Which libraries the image needs beside those for the CPU; empty for none."""
    gpu = plan.function.inference.gpu
    if gpu is not UNSET:
        return VARIANTS[gpu.vendor]
    return OF_ACCELERATORS.get(plan.config.accelerator, "")


def _of_registry(plan: Plan) -> str:
    registry = plan.function.registry.rstrip("/")
    return f"{registry}/{plan.name}" if registry else ""


def _repository(image: str) -> str:
    """The image's name without tag and digest; a colon before a slash is a port."""
    name = image.partition("@")[0]
    before, colon, tag = name.rpartition(":")
    return before if colon and "/" not in tag else name
