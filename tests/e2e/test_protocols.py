"""One service, three kinds of clients through the gateway: HTTP/1.1, HTTP/2 and gRPC; and a start from zero in its parts."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc

from tests.e2e.cluster import Json, Namespace
from tests.e2e.cold_start import start_from_zero
from tests.e2e.functions import FLOWERS, INFER, apply_function, changed, render_service
from tests.parts import environment, program
from tests.protocol.grpc.library import ModelInferRequest, ModelInferResponse

METRICS = """
import urllib.request as u
print(u.urlopen("http://127.0.0.1:9095/metrics", timeout=10).read().decode())
"""
LEVELS = {
    "kfunc_model_load_seconds": "model",
    "kfunc_cold_start_seconds": "handler, exec → ready",
}


def flowers() -> ModelInferRequest:
    """The request as gRPC has it."""
    request = ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="input", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    return request


def test_rest_over_both_versions_of_http_and_grpc_reach_one_service(
    namespace: Namespace, iris_image: str, kfunc: Callable[..., str], tmp_path: Path
) -> None:
    namespace.apply(
        render_service(kfunc, iris_image, namespace.name, changed(tmp_path, "protocols: [v1, v2]", "protocols: [v1, v2, grpc]"))
    )
    namespace.wait_ready("iris")
    host, cluster = namespace.host("iris"), namespace.cluster
    assert cluster.request(host, INFER, FLOWERS).json["outputs"][0]["data"] == [0]
    command = [str(program("curl")), "-s", "--http2-prior-knowledge", "-H", f"Host: {host}", "-d", FLOWERS.decode()]
    command += ["-w", "\n%{http_version}", f"{cluster.ingress}{INFER}"]
    body, version = subprocess.check_output(command, env=environment("curl"), text=True).rsplit("\n", 1)
    assert (json.loads(body)["outputs"][0]["data"], version) == ([0], "2")
    address, port = cluster.gateway
    with grpc.insecure_channel(f"{address}:{port}", [("grpc.default_authority", host)]) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )
        answer = call(flowers(), timeout=30)
    assert list(answer.outputs[0].contents.int64_contents) == [0]


def levels(text: str) -> Json:
    """The seconds that the handler's metrics tell of its start."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.partition("{")[0] in LEVELS and 'component="handler"' in name:
            found[LEVELS[name.partition("{")[0]]] = float(value)
    return found


def test_a_start_from_zero_in_its_parts(
    namespace: Namespace, iris_image: str, kfunc: Callable[..., str], figure: Callable[[str, str], None]
) -> None:
    apply_function(namespace, kfunc, iris_image)
    namespace.wait_ready("iris")
    trial = start_from_zero(namespace, "iris", INFER, FLOWERS)
    inside = levels(namespace.kubectl("exec", trial.pod, "-c", "logger", "--", "python", "-S", "-c", METRICS))
    times = trial.times
    steps = {
        "request → pod (gateway, activator, autoscaler)": times["pod"],
        "pod → on a node": times["scheduled"] - times["pod"],
        "→ first answer (kubelet, containers, model)": trial.answered - times["scheduled"],
        **{f"  of which {name}": value for name, value in inside.items()},
    }
    for name, seconds in steps.items():
        figure(f"from zero: {name}", f"{seconds:.2f} s")
    figure("from zero: all", f"{trial.answered:.2f} s; server-timing {trial.response.headers.get('server-timing', '')}")
    assert inside.keys() == set(LEVELS.values())
