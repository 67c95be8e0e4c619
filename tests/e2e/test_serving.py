"""The root example on the cluster: built, pushed, rendered, applied, answering through the gateway."""

import json
from collections.abc import Callable

from tests.e2e.cluster import Namespace
from tests.e2e.functions import apply_function

FLOWERS = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}
).encode()


def test_the_root_example_answers_through_the_gateway(namespace: Namespace, iris_image: str, kfunc: Callable[..., str]) -> None:
    apply_function(namespace, kfunc, iris_image)
    namespace.wait_ready("iris")
    answer = namespace.cluster.request(namespace.host("iris"), "/v2/models/iris/infer", FLOWERS)
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [0])
