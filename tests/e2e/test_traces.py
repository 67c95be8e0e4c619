"""A function that is traced: all its processes send their spans, and say of which revision and pod they are."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.cluster import Namespace, wait_until
from tests.e2e.functions import FLOWERS, INFER, LOGGER, changed, render_service
from tests.e2e.test_life import keep
from tests.telemetry.receiver import Collector

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROCESSES = {"logger", "batcher", "handler"}


def test_the_spans_of_a_request_arrive_with_the_attributes_of_its_knative_service(
    namespace: Namespace, iris_image: str, kfunc: Callable[..., str], tmp_path: Path, figure: Callable[[str, str], None]
) -> None:
    host = namespace.cluster.host_ip
    with Collector(host=host) as collector:
        telemetry = f'telemetry: {{otlp_endpoint: "{collector.url}"}}'
        folder = changed(tmp_path, LOGGER, f"{telemetry}\n  {LOGGER}")
        text = (folder / "func.yaml").read_text()
        (folder / "func.yaml").write_text(text.replace("namespace: default", f"namespace: {namespace.name}"))
        namespace.apply(keep(render_service(kfunc, iris_image, namespace.name, folder), 1))
        namespace.wait_ready("iris")
        parent = f"00-{TRACE}-{CALLER}-01"
        answer = namespace.cluster.request(namespace.host("iris"), INFER, FLOWERS, {"traceparent": parent})
        assert answer.status == 200

        def arrived() -> bool:
            return {span.component for span in collector.trace(TRACE) if span.kind == "server"} == PROCESSES

        wait_until(arrived, "a span of each process", 60)
        spans = collector.trace(TRACE)
    service = namespace.get("ksvc", "iris")
    revision = service["status"]["latestReadyRevisionName"]
    pods = {pod["metadata"]["name"] for pod in namespace.pods("iris")}
    for span in spans:
        wanted = {
            "service.name": "iris",
            "faas.name": "iris",
            "service.version": revision,
            "faas.version": revision,
            "service.namespace": namespace.name,
            "k8s.namespace.name": namespace.name,
            "k8s.container.name": span.component,
        }
        assert {name: span.resource.get(name) for name in wanted} == wanted
        assert span.resource["k8s.pod.name"] == span.resource["faas.instance"]
        assert span.resource["k8s.pod.name"] in pods
    servers = {span.component: span for span in spans if span.kind == "server"}
    assert servers["batcher"].parent_id == servers["logger"].span_id
    assert servers["handler"].parent_id == servers["batcher"].span_id
    figure("spans of one request at a collector", f"{len(spans)}, of {', '.join(sorted(servers))}")
