"""Somebody else's server as the main container: a custom predictor, a ServingRuntime, Triton. Pure."""

from typing import Any, NamedTuple

from kfunc.config.server import KNOWN
from kfunc.kserve.fields import Fields, put

KINDS = {"tritonserver": "triton", "torchserve": "torchserve", "mlserver": "mlserver", "vllm": "vllm", "serving": "tfserving"}
TRITON_IMAGE = "nvcr.io/nvidia/tritonserver"
TRITON_VERSION = "25.09-py3"
POD_PORT = 8080
OTHER_POD_PORT = 8090
MODELS = "/mnt/models"
MAIN = "kserve-container"
OF_KSERVE = ("supportedModelFormats", "protocolVersions", "multiModel", "disabled")  # say when KServe takes it
OWN_STORAGE = "KServe put the model into /mnt/models: kfunc leaves that to the server; give it the URI, or mount pvc://"


class Runtime(NamedTuple):
    """A ServingRuntime: what its pods are like, and the container that serves."""

    spec: Fields
    container: Fields


def serving_runtime(document: Fields) -> Runtime | None:
    """What a service takes from it; None where it has no container, with a note of that."""
    document.skip("apiVersion", "kind", "metadata", "status")
    spec = document.mapping("spec")
    spec.skip(*OF_KSERVE)
    containers = spec.items("containers")
    if not containers:
        document.leave("spec", "it has no container")
        return None
    main = next((each for each in containers if each.text("name") == MAIN), containers[0])
    for each in containers:
        if each is not main:
            each.leave("name", "a pod of kfunc has one container beside its own sidecars")
            each.skip(*each)
    return Runtime(spec, main)


def put_server(runtime: Runtime | None, container: Fields, function: dict[str, Any]) -> None:
    """`inference.server` from a container of the user's own, or from that of a ServingRuntime."""
    source = container if runtime is None else runtime.container
    source.skip("name")
    image = container.text("image") or source.text("image")
    if not image:
        container.leave("image", "the container has no image: give inference.server.image")
        return
    kind = KINDS.get(image.partition("@")[0].rpartition("/")[2].partition(":")[0], "other")
    name = function["name"]
    command = [_named(word, name) for word in container.texts("command") or source.texts("command")]
    arguments = [_named(word, name) for word in source.texts("args")]
    if source is not container:
        arguments += container.texts("args")
    opened = source.items("ports")
    for each in opened:
        each.skip("name", "protocol")
    ports = [each.number("containerPort") for each in opened]
    port = next((each for each in ports if each), None) or (None if kind != "other" else POD_PORT)
    _put(function, {"kind": kind, "image": image, "command": command, "args": arguments, "port": port})
    if any(MODELS in word for word in (*command, *arguments)) or _has_storage(container):
        container.changed("storageUri", OWN_STORAGE)


def put_triton(container: Fields, uri: str, function: dict[str, Any]) -> None:
    """Triton as KServe starts it, reading its repository itself."""
    version = container.text("runtimeVersion") or TRITON_VERSION
    image = container.text("image") or f"{TRITON_IMAGE}:{version}"
    arguments = ["tritonserver", f"--model-repository={uri}", *container.texts("args")]
    _put(function, {"kind": "triton", "image": image, "args": arguments})
    container.changed("storageUri", "Triton reads s3://, gs:// and as:// itself; a claim (pvc://) is mounted")


def _put(function: dict[str, Any], server: dict[str, Any]) -> None:
    for name, value in server.items():
        put(function, f"inference.server.{name}", value)
    if (server.get("port") or KNOWN[server["kind"]].port) == POD_PORT:
        put(function, "inference.port", OTHER_POD_PORT)


def _has_storage(container: Fields) -> bool:
    return "storageUri" in container or "storage" in container


def _named(word: str, name: str) -> str:
    """ServingRuntimes are templates with the service's name in them."""
    return word.replace("{{.Name}}", name).replace("{{ .Name }}", name)
