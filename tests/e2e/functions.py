"""Functions as the tests put them on the cluster: rendered by `kfunc render`, in the test's namespace."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.e2e.cluster import Json, Namespace

ROOT = Path(__file__).parents[2]
INFER = "/v2/models/iris/infer"
FLOWERS = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}
).encode()
"""A request to the root example; its label is 0."""


def render_service(kfunc: Callable[..., str], image: str, namespace: str, folder: Path = ROOT) -> Json:
    """The Knative Service of a function's folder, for another namespace than its own."""
    return rendered_service(kfunc, namespace, folder, "--image", image)


def rendered_service(kfunc: Callable[..., str], namespace: str, folder: Path, *options: str) -> Json:
    """The same with the images that func.yaml names."""
    text = kfunc("render", folder, "--only", "service", *options)
    service: Json = next(iter(YAML(typ="safe", pure=True).load_all(text)))
    service["metadata"]["namespace"] = namespace
    return service


def apply_function(namespace: Namespace, kfunc: Callable[..., str], image: str, folder: Path = ROOT) -> Json:
    """Render and apply a function's Service."""
    service = render_service(kfunc, image, namespace.name, folder)
    namespace.apply(service)
    return service


def pod_spec(service: Json) -> Any:
    """The pod of a Service, to be changed before it is applied."""
    return service["spec"]["template"]["spec"]


LOGGER = "logger: {mode: all, spool: memory}"
"""The root example's line of the logger, for tests to replace."""


def changed(folder: Path, old: str, new: str) -> Path:
    """The root example in another folder, with another line in its func.yaml."""
    (folder / "examples/iris").mkdir(parents=True)
    shutil.copy(ROOT / "examples/iris/model.onnx", folder / "examples/iris")
    text = (ROOT / "func.yaml").read_text()
    assert old in text
    (folder / "func.yaml").write_text(text.replace(old, new))
    return folder
