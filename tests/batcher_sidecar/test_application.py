"""Requests that are merged, and those that pass as they came, between real sockets."""

import asyncio
import json
import socket
from typing import Any

import pytest

from kfunc.batcher_sidecar.application import BatcherApplication
from kfunc.config.batcher import Batcher
from kfunc.config.inference import Limits
from kfunc.http.address import Address
from kfunc.http.pool import UpstreamPool
from kfunc.http.server import HttpServer
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder
from tests.batcher_sidecar.pods import (
    METADATA,
    ROW,
    V1,
    V2,
    Message,
    Pod,
    Upstream,
    echo,
    forgiving,
    hang_up,
    read_message,
    row,
    serve,
)

pytestmark = pytest.mark.integration


def test_requests_that_wait_together_are_one_call_and_each_gets_its_own_rows() -> None:
    async def test(pod: Pod) -> None:
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [[n, n]] * n}) for n in range(1, 8)), row=[0, 0])
        assert [answer.json for answer in answers] == [{"predictions": [[n, n]] * n} for n in range(1, 8)]
        assert len(pod.upstream.calls) == 2
        assert len(pod.upstream.calls[1].json["instances"]) == sum(range(1, 8))

    serve(test)


def test_the_time_that_a_request_waited_for_its_batch_is_told_to_the_caller() -> None:
    async def test(pod: Pod) -> None:
        waited, _ = await pod.behind_one(*(pod.send(V1, {"instances": [[n]]}) for n in range(2)), row=[0])
        name, _, duration = waited.headers["server-timing"].partition(";dur=")
        assert name == "batch"
        assert float(duration) > 0

    serve(test)


def test_v2_requests_are_merged_once_the_models_metadata_are_known() -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V2, row(0, 0)))
        await pod.waits(lambda: len(pod.upstream.calls) == 2)
        tasks = [asyncio.create_task(pod.send(V2, row(n, n, id=f"id-{n}"))) for n in range(5)]
        await pod.waiting(5)
        pod.upstream.gate.set()
        await first
        for n, answer in enumerate(await asyncio.gather(*tasks)):
            assert answer.json == {"model_name": "m", "id": f"id-{n}", "outputs": [{**ROW, "name": "y", "data": [n, n]}]}
            assert answer.headers["x-from"] == "upstream"
        assert len(pod.upstream.calls) == 3

    serve(test)


def test_hundreds_of_concurrent_requests_are_all_answered_with_their_own_rows() -> None:
    async def test(pod: Pod) -> None:
        answers = await asyncio.gather(*(pod.send(V1, {"instances": [n]}) for n in range(300)))
        assert [answer.json["predictions"] for answer in answers] == [[n] for n in range(300)]
        assert max(len(call.json["instances"]) for call in pod.upstream.calls) <= 32
        rows = [value for call in pod.upstream.calls for value in call.json["instances"]]
        assert sorted(rows) == list(range(300))

    serve(test, max_latency_ms=5)


def test_behind_one_in_flight_only_its_own_group_waits() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: len(pod.upstream.calls) == 1)
        same = asyncio.create_task(pod.send(V1, {"instances": [1]}))
        await pod.waiting(1)
        other = asyncio.create_task(pod.send(V1, {"instances": [[2, 2]]}))
        await pod.waits(lambda: len(pod.upstream.calls) == 2)
        assert pod.upstream.calls[1].json == {"instances": [[2, 2]]}
        pod.upstream.gate.set()
        answers = await asyncio.gather(first, same, other)
        assert [answer.json for answer in answers] == [{"predictions": [0]}, {"predictions": [1]}, {"predictions": [[2, 2]]}]

    serve(test)


@pytest.mark.parametrize(
    "request_of",
    [
        {**row(0, 0), "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        {**row(0, 0), "parameters": {"sequence_id": 7}},
        {**row(0, 0), "parameters": {"sequence_start": True}},
        {**row(0, 0), "an_option": 1},
        b'{"inputs": [',
    ],
    ids=["classes", "of a sequence", "the first of a sequence", "unknown field", "broken"],
)
def test_what_cannot_be_merged_never_waits_and_holds_nothing_up(request_of: object) -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        pod.upstream.gate.clear()
        tasks = []
        for count, body in enumerate((request_of, row(1, 1), request_of), 2):
            tasks.append(asyncio.create_task(pod.send(V2, body)))
            await pod.waits(lambda count=count: len(pod.upstream.calls) == count)  # type: ignore[misc]
        pod.upstream.gate.set()
        await asyncio.gather(*tasks)
        assert pod.upstream.calls[1].body == (request_of if isinstance(request_of, bytes) else json.dumps(request_of).encode())

    serve(test, forgiving)


@pytest.mark.parametrize("headers", [{"ce_specversion": "1.0", "ce_id": "7"}, {"content_encoding": "gzip"}])
def test_events_and_coded_requests_pass_as_they_came_while_others_are_in_flight(headers: dict[str, str]) -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: len(pod.upstream.calls) == 1)
        others = [asyncio.create_task(pod.send(V1, {"instances": [n]}, **headers)) for n in (1, 2)]
        await pod.waits(lambda: len(pod.upstream.calls) == 3)
        pod.upstream.gate.set()
        await asyncio.gather(first, *others)
        name, value = next(iter(headers.items()))
        assert [call.headers.get(name.replace("_", "-")) for call in pod.upstream.calls] == [None, value, value]

    serve(test)


def test_requests_and_rows_of_the_calls_are_counted() -> None:
    async def test(pod: Pod) -> None:
        await pod.behind_one(*(pod.send(V1, {"instances": [n, n]}) for n in (1, 2, 3)))
        text = pod.metrics.exposition()
        assert 'kfunc_batch_size_count{component="batcher"} 2\n' in text
        assert 'kfunc_batch_size_sum{component="batcher"} 4\n' in text
        assert 'kfunc_batch_rows_sum{component="batcher"} 6\n' in text

    serve(test)


def test_a_single_request_and_its_answer_pass_byte_for_byte() -> None:
    body = b' {"instances" : [1.50,\n2],"x":"\\u00e4"}\n'

    async def raw(_: Upstream, request: Message) -> tuple[int, bytes]:
        return 200, b'{ "predictions": [1.0,  2]}'

    async def test(pod: Pod) -> None:
        answer = await pod.send(V1, body, x_custom="7", content_type="application/json; charset=utf-8")
        assert answer.body == b'{ "predictions": [1.0,  2]}'
        (call,) = pod.upstream.calls
        assert call.body == body
        assert (call.headers["x-custom"], call.headers["content-type"]) == ("7", "application/json; charset=utf-8")

    serve(test, raw)


def test_one_bad_row_fails_alone() -> None:
    async def test(pod: Pod) -> None:
        names = ["a", "bad", "c"]
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [name]}) for name in names), row="first")
        assert [answer.status for answer in answers] == [200, 400, 200]
        assert [answer.json for answer in answers] == [{"predictions": ["a"]}, {"error": "a bad row"}, {"predictions": ["c"]}]
        assert len(pod.upstream.calls) == 1 + 1 + 3

    serve(test)


def test_after_a_lost_connection_every_member_gets_502_and_nothing_is_sent_again() -> None:
    async def second_breaks(upstream: Upstream, request: Message) -> tuple[int, bytes] | None:
        return await echo(upstream, request) if request.json["instances"] == [0] else None

    async def test(pod: Pod) -> None:
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [n]}) for n in (1, 2, 3)))
        assert [answer.status for answer in answers] == [502, 502, 502]
        assert [call.json["instances"] for call in pod.upstream.calls] == [[0], [1, 2, 3]]
        assert (await pod.send(V1, {"instances": [0]})).status == 200

    serve(test, second_breaks)


def test_an_answer_with_other_rows_is_not_given_out_and_the_path_is_not_merged_any_more() -> None:
    async def sums(_: Upstream, request: Message) -> tuple[int, bytes]:
        return 200, json.dumps({"predictions": [sum(request.json["instances"])]}).encode()

    async def test(pod: Pod) -> None:
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [n]}) for n in (1, 2)))
        assert [answer.json["predictions"] for answer in answers] == [[1], [2]]
        calls = len(pod.upstream.calls)
        await asyncio.gather(*(pod.send(V1, {"instances": [n]}) for n in range(5)))
        assert len(pod.upstream.calls) == calls + 5

    serve(test, sums)


def test_past_the_queue_requests_are_503_with_retry_after_and_those_before_are_answered() -> None:
    async def test(pod: Pod) -> None:
        async def too_many() -> Message:
            waiting = [asyncio.create_task(pod.send(V1, {"instances": [n]})) for n in (1, 2)]
            await pod.waiting(2)
            refused = await pod.send(V1, {"instances": [3]})
            pod.upstream.gate.set()
            assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]
            return refused

        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: bool(pod.upstream.calls))
        refused = await too_many()
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert (await first).status == 200

    serve(test, max_queue=2)


@pytest.mark.parametrize(
    "inputs", [[[1, 2]], [[]], [[-1, 2], [1]], []], ids=["one row", "a scalar", "one input of two", "none"]
)
def test_a_model_with_an_input_of_a_fixed_first_dimension_is_not_merged_for(inputs: list[list[int]]) -> None:
    async def test(pod: Pod) -> None:
        tensors = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape} for shape in inputs]}
        pod.upstream.metadata = (200, {**METADATA, **tensors})
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        pod.upstream.gate.clear()
        tasks = [asyncio.create_task(pod.send(V2, row(n, n))) for n in range(5)]
        await pod.waits(lambda: len(pod.upstream.calls) == 6)
        pod.upstream.gate.set()
        await asyncio.gather(*tasks)

    serve(test)


def test_metadata_that_are_not_there_yet_are_asked_for_again() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.metadata = (503, {"error": "loading"})
        assert (await pod.send(V2, row(0, 0))).status == 200
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        pod.upstream.metadata = (200, METADATA)
        await asyncio.sleep(1.1)
        assert (await pod.send(V2, row(0, 0))).status == 200
        await pod.waits(lambda: len(pod.upstream.requests) == 4)
        pod.upstream.gate.clear()
        tasks = [asyncio.create_task(pod.send(V2, row(n, n))) for n in range(5)]
        await pod.waiting(4)
        pod.upstream.gate.set()
        await asyncio.gather(*tasks)
        assert len(pod.upstream.calls) == 2 + 2

    serve(test)


def test_a_client_that_leaves_the_queue_is_not_in_the_batch() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: bool(pod.upstream.calls))
        tasks = [asyncio.create_task(pod.send(V1, {"instances": [n]})) for n in (1, 2, 3)]
        await pod.waiting(3)
        tasks[1].cancel()
        await pod.waiting(2)
        pod.upstream.gate.set()
        await asyncio.gather(first, tasks[0], tasks[2])
        assert sorted(pod.upstream.calls[1].json["instances"]) == [1, 3]

    serve(test)


def test_a_client_that_leaves_a_call_alone_breaks_it_off_and_the_next_is_served() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        only = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: bool(pod.upstream.calls))
        only.cancel()
        await asyncio.wait_for(pod.upstream.gone.wait(), 20)
        pod.upstream.gate.set()
        assert (await pod.send(V1, {"instances": [1]})).status == 200

    serve(test)


def test_a_batch_is_broken_off_when_the_last_of_its_clients_leaves() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: bool(pod.upstream.calls))
        tasks = [asyncio.create_task(pod.send(V1, {"instances": [n]})) for n in (1, 2)]
        await pod.waiting(2)
        pod.upstream.gate.set()
        await first
        pod.upstream.gate.clear()
        await pod.waits(lambda: len(pod.upstream.calls) == 2)
        tasks[0].cancel()
        await asyncio.sleep(0.05)
        assert not pod.upstream.gone.is_set()
        tasks[1].cancel()
        await asyncio.wait_for(pod.upstream.gone.wait(), 20)
        pod.upstream.gate.set()
        assert (await pod.send(V1, {"instances": [3]})).status == 200

    serve(test)


def test_a_path_that_is_too_long_to_be_remembered_is_not_merged_and_not_asked_about() -> None:
    async def test(pod: Pod) -> None:
        for name in ("a" * 500, "b" * 5000):
            assert (await pod.send(f"/v2/models/{name}/infer", row(0, 0))).status == 200
        assert [request.path[:5] for request in pod.upstream.requests] == ["/v2/m"] * 2

    serve(test)


def test_callers_with_different_credentials_are_never_merged() -> None:
    async def test(pod: Pod) -> None:
        await pod.behind_one(*(pod.send(V1, {"instances": [n]}, x_n=str(n)) for n in (1, 2)))
        assert pod.upstream.calls[1].json["instances"] == [1, 2]
        pod.upstream.gate.clear()
        tasks = [asyncio.create_task(pod.send(V1, {"instances": [n]}, authorization=f"Bearer {n}")) for n in (1, 2)]
        await pod.waits(lambda: len(pod.upstream.calls) == 4)
        pod.upstream.gate.set()
        await asyncio.gather(*tasks)
        assert sorted(call.headers["authorization"] for call in pod.upstream.calls[2:]) == ["Bearer 1", "Bearer 2"]

    serve(test)


def test_a_merged_call_is_json_and_asks_for_no_compression_whatever_its_members_said() -> None:
    async def test(pod: Pod) -> None:
        one = pod.send(V1, {"instances": [1]}, accept_encoding="gzip", content_type="text/plain", x_same="s", x_request_id="1")
        two = pod.send(V1, {"instances": [2]}, accept_encoding="gzip", x_same="s", x_request_id="2")
        await pod.behind_one(one, two)
        headers = pod.upstream.calls[1].headers
        assert headers["content-type"] == "application/json"
        assert headers["x-same"] == "s"
        assert headers.keys().isdisjoint({"accept-encoding", "x-request-id"})

    serve(test)


def test_when_the_upstream_is_gone_every_request_that_waits_gets_an_answer() -> None:
    async def main() -> None:
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        pool = UpstreamPool(Address(host="127.0.0.1", port=port), 30.0)
        metrics = Metrics("batcher")
        recorder = RequestRecorder(metrics, access_log=False)
        application = BatcherApplication(Batcher(max_batch_size=1, max_latency_ms=0), pool, metrics, recorder)
        batcher = HttpServer(application, Limits())
        listener = socket.create_server(("127.0.0.1", 0))
        await batcher.start(listener)
        pod = Pod(Upstream(echo), listener.getsockname()[1], metrics, recorder)
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(pod.send(V1, {"instances": ["a" * (n % 2)]}) for n in range(20)))
        assert {answer.status for answer in answers} == {503}
        batcher.close()
        await asyncio.sleep(0.05)

    asyncio.run(main())


def test_liveness_is_the_batchers_own_and_does_not_wait_for_a_model() -> None:
    async def test(pod: Pod) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nhost: test\r\n\r\n")
        answer = await read_message(reader)
        writer.close()
        assert (answer.status, answer.json) == (200, {"live": True})
        assert pod.upstream.requests == []

    serve(test, hang_up)


def test_paths_of_one_model_share_its_turns_and_a_request_of_each_is_answered() -> None:
    async def slowly(upstream: Upstream, request: Message) -> Any:
        await asyncio.sleep(0.05)
        return await echo(upstream, request)

    async def test(pod: Pod) -> None:
        await asyncio.gather(pod.send(V2, row(0, 0)), pod.send(V1, {"instances": [0]}))
        answers = await asyncio.gather(
            pod.send(V1, {"instances": [1]}), pod.send(V2, row(2, 2)), pod.send(V1, {"instances": [3]}), pod.send(V2, row(4, 4))
        )
        assert [answer.status for answer in answers] == [200] * 4
        assert [answers[number].json["predictions"] for number in (0, 2)] == [[1], [3]]
        assert [answers[number].json["outputs"][0]["data"] for number in (1, 3)] == [[2, 2], [4, 4]]

    serve(test, slowly)
