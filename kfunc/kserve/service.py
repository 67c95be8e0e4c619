"""One InferenceService → one func.yaml, and what its reader must know. Pure."""

from typing import Any

from msgspec import Struct

from kfunc.config.function import SPEC_VERSION
from kfunc.kserve.fields import Fields, Note, put
from kfunc.kserve.model import read_model
from kfunc.kserve.pod import read_container, read_pod
from kfunc.kserve.scaling import read_annotations, read_canary, read_scaling, read_times
from kfunc.kserve.sidecars import read_others, read_sidecars
from kfunc.kserve.volumes import read_volumes

KIND = "InferenceService"
RUNTIME_KINDS = ("ServingRuntime", "ClusterServingRuntime")
ORDER = ("specVersion", "name", "created", "runtime", "run", "deploy", "inference")
SIDECAR_IMAGE = "registry.example.com/kfunc:1"
IGNORED = {
    "InferenceGraph": "kfunc has no graphs: a handler.py asks other functions, with self.trace_headers()",
    "TrainedModel": "inference.models lists what else a function serves (docs/multi-model.md)",
}
NO_FIELD = "func.yaml has no such field"


class Imported(Struct, frozen=True):
    """A func.yaml as a document, with notes in the order of the service."""

    name: str
    function: dict[str, Any]
    notes: list[Note]


def import_services(documents: list[Any], created: str) -> tuple[list[Imported], list[str]]:
    """Every InferenceService of a file, with the ServingRuntimes beside it; and the other objects, as KIND NAME.

    `created` is a time as RFC 3339.
    """
    found = [document for document in documents if isinstance(document, dict)]
    runtimes = {_name(each): each for each in found if each.get("kind") in RUNTIME_KINDS}
    services = [each for each in found if each.get("kind") == KIND]
    named = [each for each in found if each.get("kind") and each["kind"] not in (KIND, *RUNTIME_KINDS)]
    others = [f"{each['kind']} {_name(each)}".strip() for each in named]
    return [_import(each, runtimes, created) for each in services], others


def why_ignored(other: str) -> str:
    """The reason why an object, as KIND NAME, makes no function."""
    return IGNORED.get(other.partition(" ")[0], f"only {KIND} and the ServingRuntimes beside it are read")


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _import(document: dict[str, Any], runtimes: dict[str, Any], created: str) -> Imported:
    notes: list[Note] = []
    service = Fields(document, "", notes)
    service.skip("apiVersion", "kind", "status")
    metadata, spec = service.mapping("metadata"), service.mapping("spec")
    metadata.skip("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "finalizers")
    name = metadata.text("name")
    function: dict[str, Any] = {
        "specVersion": SPEC_VERSION,
        "name": name,
        "created": created,
        "runtime": "python",
        "inference": {},
    }
    put(function, "deploy.namespace", metadata.text("namespace"))
    if "default" in spec:
        spec.leave("default", "this is v1alpha2: kubectl get inferenceservice NAME -o yaml gives v1beta1")
    predictor = spec.mapping("predictor")
    known = {each: Fields(value, f"{value['kind']}/{each}", notes) for each, value in runtimes.items()}
    container, runtime = read_model(predictor, function, known)
    read_annotations(metadata, function)
    read_scaling(predictor, function)
    read_times(predictor, function)
    read_canary(predictor, function)
    if runtime is not None:
        _read_pod(runtime.spec, runtime.container, function)
    _read_pod(predictor, container, function)
    read_sidecars(predictor, function)
    read_others(spec)
    _sidecar_image(function, predictor)
    served_by = [known[container.text("runtime")]] if runtime is not None else []
    notes += [Note(path, "left", NO_FIELD) for each in (service, *served_by) for path, _ in each.left()]
    return Imported(name, {key: function[key] for key in ORDER if key in function}, notes)


def _read_pod(pod: Fields, container: Fields, function: dict[str, Any]) -> None:
    read_container(container, function)
    read_pod(pod, function)
    mounts = container.items("volumeMounts")
    read_volumes(pod, mounts, function)
    for mount in mounts:
        mount.leave("name", f"{mount.text('name')}: there is no volume of this name")
        mount.skip(*mount)


def _sidecar_image(function: dict[str, Any], predictor: Fields) -> None:
    """Batcher and logger in front of a foreign server need an image of their own."""
    inference = function["inference"]
    if "server" in inference and ("batcher" in inference or "logger" in inference):
        inference["server"]["sidecar_image"] = SIDECAR_IMAGE
        message = "change inference.server.sidecar_image: it is any image of yours with kfunc in it"
        predictor.changed("logger" if "logger" in inference else "batcher", message)
