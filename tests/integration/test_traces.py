"""Traces of a function's three processes as a collector gets them: from each way in, alone, merged, and with events."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest

from tests.integration.test_run import PROCESSES, Run, make_function
from tests.telemetry.receiver import Collector, Seen

pytestmark = pytest.mark.integration

FUNC_YAML = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
runtime: python
deploy: {namespace: garden}
inference:
  model: {uri: ./handler.py}
  grace_s: 5
  batcher: {max_batch_size: 8, max_latency_ms: 100, max_in_flight: 1}
  logger: {mode: all}
"""
HANDLER = """\
import time
import numpy as np
from kfunc import Handler, TensorSpec

class Slow(Handler):
    inputs = [TensorSpec("x", "FP32", [-1, 1])]
    outputs = [TensorSpec("y", "FP32", [-1, 1])]

    def predict(self, inputs):
        largest = inputs["x"].max()
        time.sleep(0.4 if 50 < largest < 90 else 0.02)
        if largest > 90:
            raise RuntimeError("too large")
        return {"y": inputs["x"] * 2}
"""
V2 = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [3]}]}
PATH = "/v2/models/iris/infer"
PARENT = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Run]:
    """A function whose processes all send their traces, as soon as they are made."""
    folder = make_function(tmp_path_factory.mktemp("traced"), FUNC_YAML)
    (folder / "handler.py").write_text(HANDLER)
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "K_REVISION": "iris-00007",
        "K_SERVICE": "iris",
        "HOSTNAME": "iris-00007-deployment-abc",
    }
    with Run(folder, variables=variables) as run:
        run.wait_until_ready()

        def all_trace() -> bool:
            run.request("POST", PATH, V2)
            return {span.component for span in collector.spans} == set(PROCESSES)

        collector.wait_for(all_trace)
        yield run
        assert run.end() == 0


def ask(run: Run, number: int, path: str = PATH, body: object = V2, **headers: str) -> str:
    """A request within a caller's trace, which it gives."""
    trace_id = f"{number:032x}"
    given = {"traceparent": f"00-{trace_id}-{PARENT}-01", **{name.replace("_", "-"): text for name, text in headers.items()}}
    run.request("POST", path, body, given)
    return trace_id


def complete(collector: Collector, trace_id: str, count: int) -> list[Seen]:
    collector.wait_for(lambda: len(collector.trace(trace_id)) >= count)
    return collector.trace(trace_id)


def tree(spans: list[Seen], parent: str = PARENT, depth: int = 0) -> list[str]:
    """The spans as an outline; those below one span by their names."""
    lines = []
    for span in sorted((span for span in spans if span.parent_id == parent), key=lambda span: span.name):
        lines += ["  " * depth + f"{span.component}: {span.name}", *tree(spans, span.span_id, depth + 1)]
    return lines


WHOLE = [
    "logger: POST /v2/models/{model}/infer",
    "  batcher: POST /v2/models/{model}/infer",
    "    handler: POST /v2/models/{model}/infer",
    "      handler: compute",
    "      handler: decode",
    "      handler: encode",
    "      handler: queue",
    "  logger: send file-events.jsonl",
    "  logger: send file-events.jsonl",
]


def test_a_request_is_one_tree_through_all_processes(run: Run, collector: Collector) -> None:
    spans = complete(collector, ask(run, 0xA1), len(WHOLE))
    assert tree(spans) == WHOLE
    for span in spans:
        above = next((other for other in spans if other.span_id == span.parent_id), None)
        if above is not None and span.kind != "producer":  # an event is delivered when its request has ended
            assert above.started_ns <= span.started_ns
            assert span.ended_ns <= above.ended_ns + 1_000_000


def test_a_span_says_what_it_is_of(run: Run, collector: Collector) -> None:
    spans = complete(collector, ask(run, 0xA2, x_request_id="r-1"), len(WHOLE))
    server = next(span for span in spans if span.parent_id == PARENT)
    wanted = {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "url.path": PATH,
        "http.response.status_code": 200,
        "kfunc.model.name": "iris",
        "kfunc.request_id": "r-1",
    }
    assert wanted.items() <= server.attributes.items()
    resource = {
        "service.name": "iris",
        "service.namespace": "garden",
        "service.version": "iris-00007",
        "service.instance.id": "iris-00007-deployment-abc/logger",
        "faas.name": "iris",
        "faas.version": "iris-00007",
        "faas.instance": "iris-00007-deployment-abc",
        "deployment.environment.name": "test",
        "kfunc.component": "logger",
    }
    assert resource.items() <= server.resource.items()
    assert (server.kind, server.error) == ("server", None)
    compute = next(span for span in spans if span.name == "compute")
    assert 0.02 <= (compute.ended_ns - compute.started_ns) / 1e9 < 0.2


def test_the_events_of_a_request_carry_its_trace_on(run: Run, collector: Collector) -> None:
    spans = complete(collector, ask(run, 0xA3, tracestate="vendor=1"), len(WHOLE))
    logger = next(span for span in spans if span.parent_id == PARENT)
    expected = f"00-{0xA3:032x}-{logger.span_id}-01"
    run.wait_for(lambda: [event.get("traceparent") for event in run.events()].count(expected) == 2)
    assert {event.get("tracestate") for event in run.events() if event.get("traceparent") == expected} == {"vendor=1"}
    assert {span.state for span in spans if span.kind == "server"} == {"vendor=1"}


def test_merged_requests_and_their_batch_know_each_other(run: Run, collector: Collector) -> None:
    traces = [f"{0xB0 + number:032x}" for number in range(6)]

    async def together() -> None:
        slow = {"inputs": [{**V2["inputs"][0], "data": [60]}]}
        first = asyncio.create_task(asyncio.to_thread(ask, run, 0xBF, body=slow))
        await asyncio.sleep(0.1)  # the others are collected while it runs
        await asyncio.gather(*[asyncio.to_thread(ask, run, int(trace, 16)) for trace in traces])
        await first

    def seen() -> list[Seen]:
        return [span for span in collector.spans if span.trace_id in traces]

    asyncio.run(together())
    collector.wait_for(lambda: sum(span.component == "batcher" and span.kind == "server" for span in seen()) == len(traces))
    collector.wait_for(lambda: any(span.name == "batch" for span in seen()))
    largest = max((span for span in seen() if span.name == "batch"), key=lambda span: len(span.links))
    servers = {(span.trace_id, span.span_id): span for span in seen() if span.kind == "server"}
    assert len(largest.links) >= 2
    assert largest.attributes["kfunc.batch.requests"] == len(largest.links)
    assert {servers[link].attributes["kfunc.batch.id"] for link in largest.links} == {largest.attributes["kfunc.batch.id"]}
    assert largest.kind == "client"
    for link in largest.links:
        member = servers[link]
        assert member.component == "batcher"
        assert (largest.trace_id, largest.span_id) in member.links
        assert [span.name for span in collector.trace(link[0]) if span.parent_id == member.span_id and span.name == "queue"]
    collector.wait_for(lambda: any(span.parent_id == largest.span_id for span in collector.spans))
    behind = [span for span in collector.spans if span.parent_id == largest.span_id]
    assert [(span.component, span.trace_id) for span in behind] == [("handler", largest.trace_id)]


def test_a_failure_is_one_in_the_trace(run: Run, collector: Collector) -> None:
    body = {"inputs": [{**V2["inputs"][0], "data": [99]}]}
    trace_id = ask(run, 0xC1, body=body)
    collector.wait_for(lambda: len([s for s in collector.trace(trace_id) if s.kind == "server"]) == 3)
    servers = {span.component: span for span in collector.trace(trace_id) if span.kind == "server"}
    assert {span.attributes["http.response.status_code"] for span in servers.values()} == {500}
    assert servers["handler"].error == "the model failed; the log of the handler says more"
    assert all(span.error is not None and span.attributes["error.type"] == "500" for span in servers.values())


def test_a_callers_mistake_is_no_error_of_the_function(run: Run, collector: Collector) -> None:
    trace_id = ask(run, 0xC2, body={"inputs": "x"})
    collector.wait_for(lambda: len([s for s in collector.trace(trace_id) if s.kind == "server"]) == 3)
    assert {span.error for span in collector.trace(trace_id) if span.kind == "server"} == {None}


def test_a_request_that_is_in_no_trace_begins_one(run: Run, collector: Collector) -> None:
    run.request("POST", PATH, V2, {"x-request-id": "root-1"})
    collector.wait_for(lambda: len([s for s in collector.spans if s.attributes.get("kfunc.request_id") == "root-1"]) == 3)
    servers = {s.component: s for s in collector.spans if s.attributes.get("kfunc.request_id") == "root-1"}
    assert servers["logger"].parent_id == ""
    assert len({span.trace_id for span in servers.values()}) == 1


@pytest.mark.parametrize("flags", ["00", "02"])
def test_what_its_caller_does_not_keep_has_no_span_and_goes_on_as_it_came(run: Run, collector: Collector, flags: str) -> None:
    parent = f"00-{0xD0:032x}-{PARENT}-{flags}"
    run.request("POST", PATH, V2, {"traceparent": parent})
    complete(collector, ask(run, 0xD1), len(WHOLE))
    assert collector.trace(f"{0xD0:032x}") == []
    run.wait_for(lambda: [event.get("traceparent") for event in run.events()].count(parent) == 2)


def test_probes_have_no_spans(run: Run, collector: Collector) -> None:
    for path in ("/v2/health/ready", "/v2/health/live", "/v2/models/iris/ready"):
        run.request("GET", path, None, {"traceparent": f"00-{0xD3:032x}-{PARENT}-01"})
    complete(collector, ask(run, 0xD4), len(WHOLE))
    assert collector.trace(f"{0xD3:032x}") == []


def test_a_call_of_grpc_is_in_the_trace_of_its_metadata(run: Run, collector: Collector) -> None:
    trace_id = f"{0xE1:032x}"
    message = infer_message()
    with grpc.insecure_channel(f"127.0.0.1:{run.port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        call(message, metadata=[("traceparent", f"00-{trace_id}-{PARENT}-01"), ("baggage", "user=7")], timeout=10)
    spans = complete(collector, trace_id, len(WHOLE))
    server = next(span for span in spans if span.parent_id == PARENT)
    assert server.name == "inference.GRPCInferenceService/ModelInfer"
    wanted = {"rpc.system": "grpc", "rpc.service": "inference.GRPCInferenceService", "rpc.method": "ModelInfer"}
    assert (wanted | {"rpc.grpc.status_code": 0}).items() <= server.attributes.items()
    assert {span.component for span in spans} == set(PROCESSES)


def test_a_request_that_is_refused_unread_has_a_span_where_it_was_refused(run: Run, collector: Collector) -> None:
    trace_id = f"{0xE2:032x}"
    head = f"POST {PATH} HTTP/1.1\r\nhost: a\r\ntraceparent: 00-{trace_id}-{PARENT}-01\r\ncontent-length: {10**12}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", run.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
    (span,) = complete(collector, trace_id, 1)
    assert (span.component, span.name, span.parent_id) == ("logger", "POST /v2/models/{model}/infer", PARENT)
    assert span.attributes["http.response.status_code"] == 413


@pytest.mark.parametrize(
    ("number", "method", "message", "name", "code"),
    [
        (0xE3, "ModelInfer", b"\xff", "inference.GRPCInferenceService/ModelInfer", 3),
        (0xE4, "ModelStreamInfer", b"\xff", "inference.GRPCInferenceService/ModelStreamInfer", 3),
        (0xE5, "NoSuchMethod", b"", "grpc", 12),
    ],
)
def test_a_call_of_grpc_that_asks_for_nothing_has_a_span(
    run: Run, collector: Collector, number: int, method: str, message: bytes, name: str, code: int
) -> None:
    trace_id = f"{number:032x}"
    with grpc.insecure_channel(f"127.0.0.1:{run.port}") as channel:
        call = channel.stream_stream(f"/inference.GRPCInferenceService/{method}")
        with suppress(grpc.RpcError):  # a stream goes on behind a message that is wrong
            list(call(iter([message]), metadata=[("traceparent", f"00-{trace_id}-{PARENT}-01")], timeout=10))
    (span,) = complete(collector, trace_id, 1)
    assert (span.component, span.name, span.attributes["rpc.grpc.status_code"]) == ("logger", name, code)


def test_a_question_of_grpc_is_named_as_inference_is(run: Run, collector: Collector) -> None:
    from kfunc.protocol.grpc.wire import length_delimited

    trace_id = f"{0xE6:032x}"
    with grpc.insecure_channel(f"127.0.0.1:{run.port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
        call(length_delimited(1, b"iris"), metadata=[("traceparent", f"00-{trace_id}-{PARENT}-01")], timeout=10)
    run.wait_for(lambda: any(span.parent_id == PARENT for span in collector.trace(trace_id)))
    server = next(span for span in collector.trace(trace_id) if span.parent_id == PARENT)
    assert server.name == "inference.GRPCInferenceService/ModelMetadata"
    assert server.attributes.items() >= {"rpc.method": "ModelMetadata", "kfunc.model.name": "iris"}.items()


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_an_event_is_in_the_trace_of_its_extension(run: Run, collector: Collector, mode: str) -> None:
    number = 0xF1 if mode == "binary" else 0xF2
    trace_id, own = f"{number:032x}", {"specversion": "1.0", "id": "7", "source": "/garden", "type": "asked"}
    own["traceparent"] = f"00-{trace_id}-{PARENT}-01"
    if mode == "binary":
        headers = {f"ce-{name}": value for name, value in own.items()} | {"content-type": "application/json"}
        status, answer = run.request("POST", PATH, V2, headers)
    else:
        status, answer = run.request("POST", "/", {**own, "data": V2}, {"content-type": "application/cloudevents+json"})
    assert status == 200
    spans = complete(collector, trace_id, 7)
    assert {span.component for span in spans} == set(PROCESSES)
    handler = next(span for span in spans if span.component == "handler" and span.kind == "server")
    if mode == "structured":
        assert answer["traceparent"] == f"00-{trace_id}-{handler.span_id}-01"


def test_an_event_within_another_trace_is_linked_with_its_own(run: Run, collector: Collector) -> None:
    event_trace = f"{0xF3:032x}"
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "8",
        "ce_source": "/garden",
        "ce_type": "asked",
        "ce_traceparent": f"00-{event_trace}-{PARENT}-01",
        "content_type": "application/json",
    }
    trace_id = ask(run, 0xF4, **headers)
    spans = complete(collector, trace_id, 7)
    logger = next(span for span in spans if span.parent_id == PARENT)
    assert logger.links == [(event_trace, PARENT)]


def infer_message() -> bytes:
    """V2 as a ModelInferRequest."""
    from kfunc.protocol.grpc.wire import length_delimited, varint

    tensor = length_delimited(1, b"x") + length_delimited(2, b"FP32") + length_delimited(3, varint(1) + varint(1))
    return length_delimited(1, b"iris") + length_delimited(5, tensor) + length_delimited(7, b"\x00\x00\x40\x40")
