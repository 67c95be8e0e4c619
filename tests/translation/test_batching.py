"""A batcher behind a translation: requests of V2 in front of a server that has V1 only, between real sockets."""

import asyncio
import json
from typing import Any

import pytest

from kfunc.translation.application import TranslatingApplication
from tests.batcher_sidecar.pods import V2, Message, Pod, Upstream, serve

pytestmark = pytest.mark.integration


def infer(*values: int) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [len(values)], "datatype": "INT64", "data": list(values)}]}


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

    serve(
        test,
        answer,
        around=lambda batcher: TranslatingApplication(batcher, "v1", "m", 1 << 20),
        max_batch_size=4,
        max_in_flight=3,
    )
