"""What traces cost: throughput with a model of 1 ms at 100 %, CPU per request where none is kept, µs of a span."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import process_time

import msgspec

from bench.figures import Figure, interleaved
from bench.load import Post, answers, wrk
from bench.pod import Plan, handler_command, start_chain, start_ready
from bench.processes import LOAD_CORE, ROOT, Process, cpu_seconds, free_port, python, running, wait_until
from kfunc.config import pod
from kfunc.config.batcher import Batcher
from kfunc.config.logger import Logger

BUSY = ROOT / "bench" / "models" / "busy" / "handler.py"
SPANS = 20_000
CONNECTIONS = 16
# Each setting of OpenTelemetry's variables, with PORT for the collector's.
WAYS = {
    "off": {},
    "none kept": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:PORT", "OTEL_TRACES_SAMPLER": "parentbased_always_off"},
    "all kept": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:PORT"},
    "no collector": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:DEAD"},
}


def measure(plan: Plan) -> list[Figure]:
    """All of it."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        collector = stack.enter_context(running(python("-m", "bench.servers.otlp_sink", str(port)), core=LOAD_CORE))
        wait_until(lambda: answers(port, "POST", "/v1/traces", b"{}"), collector)
        body = msgspec.json.encode(
            {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
        )
        figures = _chain(stack, Path(folder), port, Post(body), plan)
        figures += _handler(stack, port, Post(plan.body), plan)
    return figures + _spans()


def _environ(way: str, port: int, settings: pod.PodConfig) -> dict[str, str]:
    variables = {name: value.replace("PORT", str(port)).replace("DEAD", str(free_port())) for name, value in WAYS[way].items()}
    return {pod.VARIABLE: pod.encode(settings), **variables}


def _chain(stack: ExitStack, folder: Path, collector: int, post: Post, plan: Plan) -> list[Figure]:
    """The whole chain on one core: with a model of 1 ms a row, and with one of 1 ms a call, which the batcher makes cheap.

    Its throughput is what its CPU per request leaves it, whatever else the machine does meanwhile.
    """
    model = pod.PodModel(name="iris", uri=str(BUSY), runtime="python", execution="loop")
    ways = [("off", ""), ("all kept", ""), ("no collector", ""), ("off", "1"), ("all kept", "1")]
    measures = []
    for way, flat in ways:
        own, port = folder / f"{way}-{flat}".replace(" ", "-"), free_port()
        own.mkdir()
        config = pod.PodConfig(
            function="iris", model=model, batcher=Batcher(), logger=Logger(sink="file:/dev/null", spool=str(own / "spool"))
        )
        processes = start_chain(stack, _environ(way, collector, config) | {"BENCH_FLAT": flat}, own, port)
        measures.append(_cpu(list(processes.values()), port, post, plan.seconds))
    off, kept, alone, flat_off, flat_kept = interleaved(plan.rounds, measures)
    return [
        _lost("chain, 1 ms a row: throughput lost, all traces kept", off, kept, 15),
        _lost("chain, 1 ms a row: throughput lost, no collector", off, alone, 15),
        _lost("chain, 1 ms a call, merged: throughput lost, all kept", flat_off, flat_kept),
    ]


def _lost(name: str, without: list[float], with_traces: list[float], most: float = 0.0) -> Figure:
    seen = f"CPU per request {min(without):.0f} → {min(with_traces):.0f} µs"
    return Figure(name, 100 * (1 - min(without) / min(with_traces)), "%", "≤" if most else "", most, seen)


def _handler(stack: ExitStack, collector: int, post: Post, plan: Plan) -> list[Figure]:
    """CPU of a handler per request of the tiny model, without the model's 1 ms in the way."""
    settings = pod.PodConfig(
        function="iris", model=pod.PodModel(name="iris", uri=plan.model, runtime="onnx", threads=1), accelerator="cpu"
    )
    measures = []
    for way in WAYS:
        port = free_port()
        process = start_ready(stack, handler_command(f"127.0.0.1:{port}"), _environ(way, collector, settings), port)
        measures.append(_cpu([process], port, post, plan.seconds))
    off, none, kept, alone = interleaved(plan.rounds, measures)
    seen = f"{min(off):.1f} µs off"
    return [
        Figure("handler: CPU added per request, no trace kept", min(none) - min(off), "µs", seen=seen),
        Figure("handler: CPU added per request, all kept (5 spans)", min(kept) - min(off), "µs", seen=seen),
        Figure("handler: CPU added per request, no collector", min(alone) - min(off), "µs", seen=seen),
    ]


def _cpu(processes: list[Process], port: int, post: Post, seconds: float) -> Callable[[], float]:
    """CPU of the processes per request, in µs."""

    def once() -> float:
        before = sum(cpu_seconds(process.pid) for process in processes)
        load = wrk(port, post, CONNECTIONS, seconds, vary=True)
        return (sum(cpu_seconds(process.pid) for process in processes) - before) / load.requests * 1e6

    return once


def _spans() -> list[Figure]:
    """One span, from its begin until it stands in a request to the collector: ours and the SDK's."""
    own, sdk = interleaved(5, [_own_spans, _sdk_spans])
    return [
        Figure("a span, recorded and encoded", min(own), "µs", seen=f"{SPANS} spans, CPU"),
        Figure("the same by OpenTelemetry's SDK", min(sdk), "µs", seen=f"{min(sdk) / min(own):.1f} × ours"),
    ]


ATTRIBUTES: dict[str, str | int] = {
    "http.request.method": "POST",
    "http.route": "/v2/models/{model}/infer",
    "http.response.status_code": 200,
}


def _own_spans() -> float:
    from time import perf_counter

    from kfunc.telemetry.otlp import SERVER, Span, attribute, encode_resource, encode_span, trace_request
    from kfunc.telemetry.sampling import new_span_id

    began_at, waiting = process_time(), []
    for _ in range(SPANS):
        started_at = perf_counter()
        about = b"".join([attribute(key, value) for key, value in ATTRIBUTES.items()])
        own = (b"4bf92f3577b34da6a3ce929d0e0e4736", new_span_id(), b"00f067aa0ba902b7", "POST", SERVER)
        waiting.append(Span(*own, started_at, perf_counter(), about))
    resource = encode_resource({"service.name": "iris"})
    for start in range(0, SPANS, 512):
        trace_request(resource, [encode_span(span, 0) for span in waiting[start : start + 512]])
    return (process_time() - began_at) / SPANS * 1e6


def _sdk_spans() -> float:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.trace import SpanKind

    class Keep(SpanProcessor):
        waiting: list[ReadableSpan] = []

        def on_end(self, span: ReadableSpan) -> None:
            self.waiting.append(span)

    keep, provider = Keep(), TracerProvider(resource=Resource({"service.name": "iris"}))
    keep.waiting = []
    provider.add_span_processor(keep)
    tracer = provider.get_tracer("bench")
    began_at = process_time()
    for _ in range(SPANS):
        tracer.start_span("POST", kind=SpanKind.SERVER, attributes=ATTRIBUTES).end()
    for start in range(0, SPANS, 512):
        encode_spans(keep.waiting[start : start + 512]).SerializeToString()
    return (process_time() - began_at) / SPANS * 1e6
