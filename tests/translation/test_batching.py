"""A batcher behind a translation: requests of V2 in front of a server that has V1 only, between real sockets."""

import asyncio
import json
from typing import Any

import pytest

from kfunc.batcher_sidecar.application import BatcherApplication
from kfunc.batcher_sidecar.tracing import BatchTracer
from kfunc.http.exchange import Application
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.otlp import Span
from kfunc.telemetry.request_trace import Traced
from kfunc.telemetry.requests import RequestRecorder
from kfunc.telemetry.sampling import ratio_sampler
from kfunc.translation.application import TranslatingApplication
from tests.batcher_sidecar.pods import V2, Message, Pod, Upstream, echo, serve

pytestmark = pytest.mark.integration


def infer(*values: int) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [len(values)], "datatype": "INT64", "data": list(values)}]}


def translated(batcher: Application) -> TranslatingApplication:
    return TranslatingApplication(batcher, "v1", "m", 1 << 20)


@pytest.mark.parametrize(("fault", "status"), [((400, b'{"error": "a bad row"}'), 400), (None, 502)], ids=["refused", "lost"])
def test_a_request_that_was_cut_and_has_its_answer_is_not_sent_again(fault: Any, status: int) -> None:
    """Its first part fails; the last is in a batch that is refused, in which another request can be answered."""

    async def answer(upstream: Upstream, request: Message) -> Any:
        rows = request.json["instances"]
        if rows[0] == 100:
            return fault
        if rows != [0]:
            await asyncio.sleep(0.05)
        if len(rows) > 2 and 7 in rows:
            return 400, b'{"error": "not of one kind"}'
        return 200, json.dumps({"predictions": rows}).encode()

    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V2, infer(0)))
        await pod.waits(lambda: len(pod.upstream.calls) == 1)
        large = asyncio.create_task(pod.send(V2, infer(*range(100, 110))))
        await pod.waits(lambda: len(pod.upstream.calls) == 3)
        small = asyncio.create_task(pod.send(V2, infer(7, 8)))
        await pod.waiting(2)
        pod.upstream.gate.set()
        assert [(await each).status for each in (first, large, small)] == [200, status, 200]
        await asyncio.sleep(0.1)
        assert max(len(call.json["instances"]) for call in pod.upstream.calls) == 4

    serve(test, answer, around=translated, max_batch_size=4, max_in_flight=3)


class Spans:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.all: list[Span] = []

    def add(self, span: Span) -> None:
        self.all.append(span)


def test_callers_and_their_spans_hear_of_the_batch() -> None:
    spans = Spans()

    def traced(batcher: Application) -> Application:
        assert isinstance(batcher, BatcherApplication)
        batcher.tracer = tracer = BatchTracer(spans)
        recorder = RequestRecorder(Metrics("batcher"), access_log=False, keep=9)
        return Traced(translated(batcher), ratio_sampler(1.0, by_parent=True), spans, tracer, recorder, declares=False)

    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V2, infer(0)))
        await pod.waits(lambda: len(pod.upstream.calls) == 1)
        others = [asyncio.create_task(pod.send(V2, infer(number))) for number in range(2)]
        await pod.waiting(2)
        pod.upstream.gate.set()
        for each in others:
            assert (await each).headers["server-timing"].startswith("batch;dur=")
        await first

    serve(test, echo, around=traced)
    (batch,) = [span for span in spans.all if span.name == "batch"]
    requests = [span for span in spans.all if span.links and span is not batch]
    assert {(span.trace_id, span.span_id) for span in requests} == set(batch.links)
    assert [span.name for span in spans.all].count("queue") == 2
