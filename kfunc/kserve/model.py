"""What the predictor serves: the model's place and runtime, or somebody else's server. Pure."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from kfunc.config.inference import Runtime as RuntimeName
from kfunc.kserve.fields import Fields, put, whole_number
from kfunc.kserve.servers import Runtime, put_server, put_triton, serving_runtime

# KServe's formats -> kfunc's runtimes.
RUNTIMES = {
    "catboost": "catboost",
    "huggingface": "huggingface",
    "keras": "tensorflow",
    "lightgbm": "lightgbm",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "openvino": "openvino",
    "openvino_ir": "openvino",
    "paddle": "paddle",
    "pmml": "pmml",
    "pytorch": "torch",
    "sklearn": "sklearn",
    "tensorflow": "tensorflow",
    "xgboost": "xgboost",
}
TRITON = ("triton", "tensorrt")
# Fields of the predictor that older files have instead of `model`.
OLDER = ("sklearn", "xgboost", "lightgbm", "onnx", "pytorch", "tensorflow", "pmml", "paddle", "huggingface", "triton")
# KServe's own servers, in whose place kfunc's runtimes stand.
OWN_SERVERS: tuple[str, ...] = ("huggingfaceserver", "lgbserver", "mlserver", "paddleserver", "pmmlserver", "predictiveserver")
OWN_SERVERS += ("sklearnserver", "tensorflow-serving", "torchserve", "xgbserver")
SCHEMES = ("s3", "gs", "az", "hf", "oci", "pvc", "http", "https", "file")
HINTS = {
    "sklearn": "a joblib or pickle file needs model.trust and model.digest (sha256sum FILE); one of skops needs neither",
    "pytorch": "a TorchServe archive (.mar) needs inference.server {kind: torchserve}",
}
IN_IMAGE = "./model"  # what a server of the user's own has in its image is not looked for
IS_IN_IMAGE = f"no storageUri: the model is taken to be in this image; inference.model.uri {IN_IMAGE} only stands for it"


class Predictor(NamedTuple):
    """The container that serves, and the format of its model; no format: a server of the user's own."""

    container: Fields
    form: str
    version: str


def read_model(spec: Fields, function: dict[str, Any], runtimes: dict[str, Fields]) -> tuple[Fields, Runtime | None]:
    """Fill `inference.model` and `inference.server`; returns the container whose resources and variables count, and the
    ServingRuntime that serves, of those that stand beside the service: by name in `runtimes`.
    """
    container, form, version = _predictor(spec)
    container.skip("name")
    in_image = "image" in container and not form
    uri = _uri(container, needed=not in_image)
    put(function, "inference.model.uri", uri or (IN_IMAGE if in_image else ""))
    if in_image and not uri:
        container.changed("image", IS_IN_IMAGE)
    if container.text("protocolVersion") == "grpc-v2":
        put(function, "inference.protocols", ["v1", "v2", "grpc"])
    named = container.text("runtime")
    runtime = serving_runtime(runtimes[named]) if named in runtimes else None
    if runtime is not None:
        put_server(runtime, container, function)
    elif not form:
        put_server(None, container, function)
    elif form in TRITON or named == "kserve-tritonserver":
        put_triton(container, uri, function)
    else:
        _runtime(container, form, version, named, function)
        return container, runtime
    if version:
        container.leave("modelFormat.version", f"{version}: the server's image decides which versions it reads")
    return container, runtime


def _predictor(spec: Fields) -> Predictor:
    if "model" in spec:
        model = spec.mapping("model")
        form = model.mapping("modelFormat")
        return Predictor(model, form.text("name").lower() or "of no name", form.text("version"))
    for name in OLDER:
        if name in spec:
            return Predictor(spec.mapping(name), name, "")
    first, *others = spec.items("containers") or [Fields({}, spec.at("containers"), spec.notes)]
    for other in others:
        spec.leave(
            "containers", f"{other.text('name') or 'the second'}: a pod of kfunc has one container beside its own sidecars"
        )
    return Predictor(first, "", "")


def _uri(container: Fields, *, needed: bool) -> str:
    uri, storage = container.text("storageUri"), container.mapping("storage")
    if "path" in storage:
        parameters, key = storage.pairs("parameters"), storage.text("key")
        uri = f"{parameters.get('type', 's3')}://{parameters.get('bucket', 'BUCKET')}/{storage.text('path').lstrip('/')}"
        storage.changed(
            "path", f"read as {uri}; credentials{f' ({key})' if key else ''}: a Secret in inference.storage.env_secret"
        )
    elif not uri:
        uri = _variable(container, "STORAGE_URI")
    if not uri and not needed:
        return ""
    if not uri:
        container.leave("storageUri", "the file names no model: give inference.model.uri")
        return ""
    scheme, address, _ = uri.partition("://")
    if not address:
        container.changed("storageUri", f"{uri} is a path: kfunc reads it from the function's folder, or from a claim (pvc://)")
    elif scheme not in SCHEMES:
        container.changed("storageUri", f"kfunc does not read {scheme}://: copy the model to {', '.join(SCHEMES[:6])} …")
    return uri


def _variable(container: Fields, name: str) -> str:
    variables = container.value("env")
    for each in variables if isinstance(variables, list) else ():
        if isinstance(each, dict) and each.get("name") == name:
            return str(each.get("value") or "")
    return ""


def _runtime(container: Fields, form: str, version: str, named: str, function: dict[str, Any]) -> None:
    runtime = RUNTIMES.get(form, "")
    if runtime in get_args(RuntimeName):
        put(function, "inference.model.runtime", runtime)
    else:
        what = f"{runtime} in this version" if runtime else f"for the format {form}"
        container.leave("modelFormat", f"kfunc has no runtime {what}: kfunc convert makes ONNX of many, handler.py reads any")
    if named.removeprefix("kserve-") not in (*OWN_SERVERS, ""):
        container.changed("runtime", f"kfunc's own runtime is taken: {named} is not a ServingRuntime of this file")
    if version or "runtimeVersion" in container:
        field = "runtimeVersion" if "runtimeVersion" in container else "modelFormat.version"
        version = container.text("runtimeVersion") or version
        container.changed(field, f"{version}: the image decides; pin the library in the function's requirements.txt")
    if form in HINTS:
        container.changed("storageUri", HINTS[form])
    _arguments(container, function)
    for name in ("image", "command", "ports"):
        if name in container:
            container.leave(name, "kfunc build makes the image, with kfunc's own server in it")


def _arguments(container: Fields, function: dict[str, Any]) -> None:
    """Some arguments of KServe's own servers say what the model is."""
    rest = []
    for name, value, argument in _flags(container.texts("args")):
        if name == "--model_name" and value:
            put(function, "inference.model.name", value)
        elif name == "--model_id" and value:
            _of_the_hub(container, f"hf://{value}", function)
        elif name == "--workers" and whole_number(value):
            put(function, "inference.workers", whole_number(value))
        else:
            rest.append(argument)
    if rest:
        container.leave("args", f"{' '.join(rest)}: arguments of KServe's own server")


def _of_the_hub(container: Fields, uri: str, function: dict[str, Any]) -> None:
    """KServe's server asks the hub for --model_id, whatever storage has."""
    stored = function["inference"].get("model", {}).get("uri", uri)
    put(function, "inference.model.uri", uri)
    if stored != uri:
        container.leave(
            "storageUri", f"{stored}: --model_id goes before it, as in KServe's server; inference.model.uri is {uri}"
        )


def _flags(arguments: list[str]) -> Iterator[tuple[str, str, str]]:
    """Name, value and all of each: --name=value is one argument, --name value are two."""
    rest = deque(arguments)
    while rest:
        argument = rest.popleft()
        name, _, value = argument.partition("=")
        if name == argument and name.startswith("--") and rest and not rest[0].startswith("-"):
            value = rest.popleft()
            argument = f"{name} {value}"
        yield name, value, argument
