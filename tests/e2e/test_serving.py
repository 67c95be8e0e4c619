"""The root example on the cluster: built, pushed, rendered, applied, answering through the gateway."""

from collections.abc import Callable

from tests.e2e.cluster import Namespace
from tests.e2e.functions import FLOWERS, INFER, apply_function


def test_the_root_example_answers_through_the_gateway(namespace: Namespace, iris_image: str, kfunc: Callable[..., str]) -> None:
    apply_function(namespace, kfunc, iris_image)
    namespace.wait_ready("iris")
    answer = namespace.cluster.request(namespace.host("iris"), INFER, FLOWERS)
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [0])
