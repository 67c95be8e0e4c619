"""What the settings and the parameters of requests change, between real sockets."""

import asyncio
import gzip
import json
from typing import Any

import numpy as np
import pytest

from kfunc.batcher_sidecar.tuning import FIRST_ROWS
from kfunc.config.batcher import Pad
from kfunc.telemetry.recent import InBatch
from tests.batcher_sidecar.pods import METADATA, ROW, V1, V2, Message, Pod, Upstream, echo, row, serve

pytestmark = pytest.mark.integration

LENGTH = "inference-header-content-length"


async def begin(pod: Pod, body: object, path: str = V2) -> "asyncio.Task[Message]":
    """A request in flight, behind which others are collected."""
    await pod.send(path, body)  # the model's metadata are known after it
    await pod.waits(lambda: any(request.line.startswith("GET") for request in pod.upstream.requests) or path == V1)
    await asyncio.sleep(0.02)
    pod.upstream.gate.clear()
    calls = len(pod.upstream.calls)
    first = asyncio.create_task(pod.send(path, body))
    await pod.waits(lambda: len(pod.upstream.calls) > calls)
    return first


async def behind(pod: Pod, first: "asyncio.Task[Message]", *bodies: Any, path: str = V2) -> list[Message]:
    """The answers to requests that were all collected behind the one in flight."""
    tasks = []
    for count, body in enumerate(bodies, 1):
        body, headers = body if type(body) is tuple else (body, {})
        tasks.append(asyncio.create_task(pod.send(path, body, **headers)))
        await pod.waiting(count)
    pod.upstream.gate.set()
    await first
    return list(await asyncio.gather(*tasks))


def rows_of(call: Message) -> list[Any]:
    data: list[Any] = call.json["inputs"][0]["data"]
    return data


def test_levels_of_priority_are_served_in_their_order() -> None:
    async def test(pod: Pod) -> None:
        first = await begin(pod, row(0, 0))
        await behind(pod, first, *(row(n, n, parameters={"priority": n}) for n in (3, 0, 1)))
        assert rows_of(pod.upstream.calls[2]) == [1, 1]
        assert [rows_of(call) for call in pod.upstream.calls[2:]] == [[1, 1], [0, 0], [3, 3]]

    serve(test, max_batch_size=1, max_in_flight=1)


def test_one_level_of_priority_is_none() -> None:
    async def test(pod: Pod) -> None:
        first = await begin(pod, row(0, 0))
        await behind(pod, first, *(row(n, n, parameters={"priority": n}) for n in (3, 1)))
        assert [rows_of(call) for call in pod.upstream.calls[2:]] == [[3, 3], [1, 1]]

    serve(test, max_batch_size=1, max_in_flight=1, priority_levels=1)


def test_a_request_whose_timeout_passes_is_504_and_does_not_run() -> None:
    async def test(pod: Pod) -> None:
        first = await begin(pod, row(0, 0))
        late = asyncio.create_task(pod.send(V2, row(1, 1, parameters={"timeout": 20_000})))
        answer = await asyncio.wait_for(late, 10)
        assert (answer.status, "timeout" in answer.json["error"]) == (504, True)
        pod.upstream.gate.set()
        await first
        assert len(pod.upstream.calls) == 2
        assert 'kfunc_batch_expired_total{component="batcher"} 1\n' in pod.metrics.exposition()

    serve(test)


@pytest.mark.parametrize("path", [V1, V2])
def test_a_request_of_more_rows_than_a_batch_is_cut_and_its_answers_are_joined(path: str) -> None:
    values = list(range(22))
    rows = [[n, n + 1] for n in values[::2]]
    v2 = {"inputs": [{**ROW, "shape": [11, 2], "data": values}], "id": "large"}

    async def test(pod: Pod) -> None:
        await begin_nothing(pod, path)
        answer = await pod.send(path, {"instances": rows} if path == V1 else v2)
        if path == V1:
            assert answer.json == {"predictions": rows}
        else:
            assert answer.json["id"] == "large"
            assert answer.json["outputs"] == [{**ROW, "name": "y", "shape": [11, 2], "data": values}]
        sizes = [len(call.json.get("instances", ())) or call.json["inputs"][0]["shape"][0] for call in pod.upstream.calls[-3:]]
        assert sizes == [4, 4, 3]
        assert 'kfunc_batch_splits_total{component="batcher"} 1\n' in pod.metrics.exposition()

    serve(test, max_batch_size=4, max_in_flight=1)


async def begin_nothing(pod: Pod, path: str) -> None:
    if path == V2:
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        await asyncio.sleep(0.02)


def test_when_a_part_of_a_request_is_refused_so_is_the_request_with_the_upstreams_answer() -> None:
    async def test(pod: Pod) -> None:
        answer = await pod.send(V1, {"instances": ["a"] * 4 + ["bad"] * 4 + ["c"] * 4})
        assert (answer.status, answer.json) == (400, {"error": "a bad row"})
        assert len(pod.upstream.calls) == 2

    serve(test, max_batch_size=4, max_in_flight=1)


def test_a_bad_row_in_the_rest_of_a_request_fails_that_request_and_not_those_it_travels_with() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": ["x"]}))
        await pod.waits(lambda: bool(pod.upstream.calls))
        large = asyncio.create_task(pod.send(V1, {"instances": ["a"] * 4 + ["bad"]}))
        await pod.waiting(1)
        small = asyncio.create_task(pod.send(V1, {"instances": ["s"]}))
        await pod.waiting(2)
        pod.upstream.gate.set()
        assert [answer.status for answer in await asyncio.gather(first, large, small)] == [200, 400, 200]

    serve(test, max_batch_size=4, max_in_flight=1)


def test_without_retry_alone_all_get_the_upstreams_answer() -> None:
    async def test(pod: Pod) -> None:
        names = ["a", "bad", "c"]
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [name]}) for name in names), row="first")
        assert [(answer.status, answer.json) for answer in answers] == [(400, {"error": "a bad row"})] * 3
        assert len(pod.upstream.calls) == 2

    serve(test, retry_alone=False)


def test_only_requests_with_the_same_value_of_a_group_header_are_merged() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}, x_tenant="a"))
        await pod.waits(lambda: bool(pod.upstream.calls))
        same = asyncio.create_task(pod.send(V1, {"instances": [1]}, x_tenant="a"))
        await pod.waiting(1)
        other = asyncio.create_task(pod.send(V1, {"instances": [2]}, x_tenant="b"))
        await pod.waits(lambda: len(pod.upstream.calls) == 2)
        assert (pod.upstream.calls[1].json, pod.upstream.calls[1].headers["x-tenant"]) == ({"instances": [2]}, "b")
        pod.upstream.gate.set()
        await asyncio.gather(first, same, other)

    serve(test, group_headers=["x-tenant"])


def test_never_merges_nothing() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        tasks = [asyncio.create_task(pod.send(path, row(0, 0))) for path in (V1, V2) for _ in range(3)]
        await pod.waits(lambda: len(pod.upstream.calls) == 6)
        pod.upstream.gate.set()
        await asyncio.gather(*tasks)
        assert len(pod.upstream.requests) == 6

    serve(test, merge="never")


def test_always_merges_v2_without_waiting_for_metadata() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.metadata = (404, {})
        first = await begin(pod, row(0, 0))
        answers = await behind(pod, first, row(1, 1), row(2, 2))
        assert [answer.json["outputs"][0]["data"] for answer in answers] == [[1, 1], [2, 2]]
        assert rows_of(pod.upstream.calls[2]) == [1, 1, 2, 2]

    serve(test, merge="always")


def test_the_trace_of_the_first_goes_on_behind_the_batch() -> None:
    async def test(pod: Pod) -> None:
        parents = [f"00-{n:032x}-{n:016x}-01" for n in (1, 2)]
        await pod.behind_one(*(pod.send(V1, {"instances": [n]}, traceparent=parents[n], x_n=str(n)) for n in (0, 1)))
        assert pod.upstream.calls[1].headers["traceparent"] == parents[0]
        assert "x-n" not in pod.upstream.calls[1].headers

    serve(test)


def test_where_requests_are_kept_a_batch_has_an_id_of_its_own_which_they_know() -> None:
    async def test(pod: Pod) -> None:
        requests = [pod.send(V1, {"instances": [n]}, x_request_id=f"r-{n}") for n in (0, 1)]
        answers = await pod.behind_one(*requests)
        behind = pod.upstream.calls[1].headers["x-request-id"]
        assert [answer.headers["x-request-id"] for answer in answers] == ["r-0", "r-1"]
        assert pod.recorder.recent is not None
        kept = {each.request_id: each.batches for each in pod.recorder.recent.latest()}
        assert kept["r-0"] == kept["r-1"] == (InBatch(behind, 2),)

    serve(test, keep=10)


def test_where_none_are_kept_a_batch_has_no_id() -> None:
    async def test(pod: Pod) -> None:
        await pod.behind_one(*(pod.send(V1, {"instances": [n]}, x_request_id=f"r-{n}") for n in (0, 1)))
        assert "x-request-id" not in pod.upstream.calls[1].headers

    serve(test)


def test_a_call_whose_clients_are_all_gone_is_broken_off() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: bool(pod.upstream.calls))
        tasks = [asyncio.create_task(pod.send(V1, {"instances": [n]})) for n in (1, 2)]
        await pod.waits(lambda: len(pod.upstream.calls) == 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait_for(pod.upstream.gone.wait(), 10)
        pod.upstream.gate.set()
        assert (await first).status == 200
        assert (await pod.send(V1, {"instances": [3]})).json == {"predictions": [3]}

    serve(test, max_batch_size=2)


async def echo_binary(upstream: Upstream, request: Message) -> tuple[int, bytes, dict[str, str]] | tuple[int, bytes]:
    """Rows come back in the form that was asked for."""
    length = int(request.headers.get(LENGTH, 0))
    if not length:
        return await echo(upstream, request)
    document = json.loads(request.body[:length])
    outputs = [{**each, "name": "y"} for each in document["inputs"]]
    head = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    return 200, head + request.body[length:], {LENGTH: str(len(head)), "content-type": "application/octet-stream"}


def binary_row(*values: float, **more: object) -> tuple[bytes, dict[str, str]]:
    raw = np.array(values, np.float32).tobytes()
    head = json.dumps({"inputs": [{**ROW, "parameters": {"binary_data_size": len(raw)}}], **more}).encode()
    return head + raw, {"inference_header_content_length": str(len(head))}


def test_binary_and_json_requests_are_one_call_and_each_answer_has_its_form() -> None:
    async def test(pod: Pod) -> None:
        first = await begin(pod, row(0, 0))
        asking = {"parameters": {"binary_data_output": True}}
        answers = await behind(pod, first, row(1, 1, id="j"), binary_row(2, 3, id="b", **asking), binary_row(4, 5))
        assert len(pod.upstream.calls) == 3
        assert pod.upstream.calls[2].headers["content-type"] == "application/octet-stream"
        plain, wanted, mixed = answers
        assert plain.json == {"model_name": "m", "id": "j", "outputs": [{**ROW, "name": "y", "data": [1, 1]}]}
        assert LENGTH not in plain.headers
        assert plain.headers["content-type"] == "application/json"
        length = int(wanted.headers[LENGTH])
        assert json.loads(wanted.body[:length])["id"] == "b"
        assert np.frombuffer(wanted.body[length:], np.float32).tolist() == [2, 3]
        assert mixed.json["outputs"][0]["data"] == [4, 5]

    serve(test, echo_binary)


def test_outputs_without_a_batch_dimension_are_everybodys() -> None:
    async def with_classes(upstream: Upstream, request: Message) -> tuple[int, bytes]:
        status, body = await echo(upstream, request)
        document = json.loads(body)
        classes = {"name": "classes", "datatype": "INT64", "shape": [2], "data": [7, 8]}
        return status, json.dumps({**document, "outputs": [*document["outputs"], classes]}).encode()

    async def test(pod: Pod) -> None:
        outputs = [*METADATA["outputs"], {"name": "classes", "datatype": "INT64", "shape": [2]}]
        pod.upstream.metadata = (200, {**METADATA, "outputs": outputs})
        first = await begin(pod, row(0, 0))
        for number, answer in enumerate(await behind(pod, first, row(0, 0), row(1, 1))):
            assert [each["data"] for each in answer.json["outputs"]] == [[number, number], [7, 8]]

    serve(test, with_classes)


def test_shorter_rows_are_filled_up_with_a_mask_and_cut_back() -> None:
    metadata = {
        **{"name": "m", "versions": ["1"], "platform": "test"},
        "inputs": [
            {"name": "ids", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "attention_mask", "datatype": "INT64", "shape": [-1, -1]},
        ],
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1, -1]}],
    }

    async def doubles(_: Upstream, request: Message) -> tuple[int, bytes]:
        ids, *masks = request.json["inputs"]
        mask = masks[0]["data"] if masks else [1] * len(ids["data"])
        data = [2 * n if m else -1 for n, m in zip(ids["data"], mask, strict=True)]
        return 200, json.dumps({"outputs": [{"name": "y", "datatype": "INT64", "shape": ids["shape"], "data": data}]}).encode()

    def ids(*values: int) -> dict[str, object]:
        return {"inputs": [{"name": "ids", "datatype": "INT64", "shape": [1, len(values)], "data": list(values)}]}

    async def test(pod: Pod) -> None:
        pod.upstream.metadata = (200, metadata)
        first = await begin(pod, ids(9, 9, 9))
        answers = await behind(pod, first, ids(1, 2, 3), ids(4, 5, 6, 7), ids(8, 9, 10))
        outputs = [answer.json["outputs"][0] for answer in answers]
        assert [output["data"] for output in outputs] == [[2, 4, 6], [8, 10, 12, 14], [16, 18, 20]]
        assert [output["shape"] for output in outputs] == [[1, 3], [1, 4], [1, 3]]
        merged, mask = pod.upstream.calls[2].json["inputs"]
        assert merged["data"] == [1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10, 0]
        assert mask["data"] == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0]
        alone = await pod.send(V2, ids(5, 6))
        assert alone.json["outputs"][0]["data"] == [10, 12]

    serve(test, doubles, pad=Pad())


def test_a_caller_who_takes_compressed_answers_gets_a_large_one_so() -> None:
    async def test(pod: Pod) -> None:
        words = [f"row {n}, and some more text" for n in range(60)]
        plain, coded = await pod.behind_one(
            pod.send(V1, {"instances": words}), pod.send(V1, {"instances": words}, accept_encoding="gzip"), row="x"
        )
        assert "content-encoding" not in plain.headers
        assert (coded.headers["content-encoding"], coded.headers["vary"]) == ("gzip", "accept-encoding")
        assert json.loads(gzip.decompress(coded.body)) == plain.json == {"predictions": words}

    serve(test, max_batch_size=200)


def test_what_is_done_is_counted() -> None:
    async def test(pod: Pod) -> None:
        await pod.behind_one(*(pod.send(V1, {"instances": [n, n]}) for n in (1, 2)))
        text = pod.metrics.exposition()
        for line in ("kfunc_batch_fill_ratio_count", "kfunc_batch_queue_seconds_count", "kfunc_batch_max_rows"):
            assert f'\n{line}{{component="batcher"}} ' in text
        assert 'kfunc_batch_fill_ratio_sum{component="batcher"} 0.5\n' in text
        assert 'kfunc_batch_in_flight{component="batcher"} 0\n' in text

    serve(test, max_batch_size=8)


def test_the_size_that_auto_has_chosen_is_told() -> None:
    async def test(pod: Pod) -> None:
        for _ in range(3):
            await asyncio.gather(*(pod.send(V1, {"instances": [n]}) for n in range(64)))
        line = next(line for line in pod.metrics.exposition().splitlines() if line.startswith("kfunc_batch_max_rows{"))
        assert int(line.split()[1]) > FIRST_ROWS

    serve(test, max_batch_size="auto", target_p99_ms=1000.0)
