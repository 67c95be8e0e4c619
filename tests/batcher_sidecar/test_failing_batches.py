"""What becomes of the requests of a batch that fails, or whose answer cannot be cut, between real sockets."""

import asyncio
import json
from typing import Any

import pytest

from kfunc.batcher_sidecar import paths
from kfunc.config.batcher import Pad
from tests.batcher_sidecar.pods import METADATA, V1, V2, Answer, Message, Pod, Upstream, echo, row, serve
from tests.batcher_sidecar.test_application_settings import LENGTH, begin, behind, binary_row

pytestmark = pytest.mark.integration


def whole_batches(status: int, fields: dict[str, str] | None = None) -> Answer:
    """Answers calls of several rows with a status."""

    async def answer(upstream: Upstream, request: Message) -> Any:
        several = len(request.json["instances"]) > 1
        return (status, b'{"error": "all"}', fields or {}) if several else await echo(upstream, request)

    return answer


@pytest.mark.parametrize(
    ("status", "fields"),
    [(408, {}), (429, {"retry-after": "1"}), (502, {}), (503, {}), (504, {})],
    ids=lambda given: str(given),
)
def test_a_batch_that_may_have_run_or_fails_for_another_reason_than_a_row_is_not_sent_again(
    status: int, fields: dict[str, str]
) -> None:
    async def test(pod: Pod) -> None:
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [n]}) for n in range(3)))
        assert [answer.status for answer in answers] == [status] * 3
        assert len(pod.upstream.calls) == 2

    serve(test, whole_batches(status, fields))


@pytest.mark.parametrize(("status", "fields"), [(400, {}), (500, {}), (501, {}), (503, {"retry-after": "1"})])
def test_a_batch_in_which_one_row_may_be_wrong_or_that_has_not_run_is_sent_again(status: int, fields: dict[str, str]) -> None:
    async def test(pod: Pod) -> None:
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [n]}) for n in range(3)))
        assert [answer.status for answer in answers] == [200] * 3
        assert len(pod.upstream.calls) == 5

    serve(test, whole_batches(status, fields))


def test_requests_that_are_sent_again_make_no_more_calls_at_once_than_their_batch() -> None:
    running, most = 0, 0

    async def slowly(upstream: Upstream, request: Message) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return await whole_batches(500)(upstream, request)

    async def test(pod: Pod) -> None:
        answers = await asyncio.gather(*(pod.send(V1, {"instances": [n]}) for n in range(60)))
        assert [answer.json["predictions"] for answer in answers] == [[n] for n in range(60)]
        assert most <= 4

    serve(test, slowly, max_batch_size=8, max_in_flight=4, max_latency_ms=5)


def test_requests_of_a_failed_batch_whose_turn_does_not_come_in_time_are_504() -> None:
    async def slowly(upstream: Upstream, request: Message) -> Any:
        if len(request.json["instances"]) == 1 and request.json["instances"] != [0]:
            await asyncio.sleep(0.4)
        return await whole_batches(500)(upstream, request)

    async def test(pod: Pod) -> None:
        answers = await pod.behind_one(*(pod.send(V1, {"instances": [n]}) for n in range(1, 6)))
        assert [answer.status for answer in answers] == [200, 200, 200, 504, 504]
        assert "failed" in answers[3].json["error"]
        assert (await pod.send(V1, {"instances": [0]})).status == 200

    serve(test, slowly, timeout_s=1.0)


MASKED = {
    **{"name": "m", "versions": ["1"], "platform": "test"},
    "inputs": [{"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in ("ids", "attention_mask")],
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1, -1]}],
}


def test_a_bad_row_fails_alone_where_a_mask_is_added_too() -> None:
    async def strict(_: Upstream, request: Message) -> tuple[int, bytes]:
        ids, *masks = request.json["inputs"]
        if not masks or 666 in ids["data"]:
            return 400, b'{"error": "a bad row"}' if masks else b'{"error": "no mask"}'
        return 200, json.dumps({"outputs": [{**ids, "name": "y"}]}).encode()

    def ids(*values: int) -> dict[str, object]:
        return {"inputs": [{"name": "ids", "datatype": "INT64", "shape": [1, len(values)], "data": list(values)}]}

    async def test(pod: Pod) -> None:
        pod.upstream.metadata = (200, MASKED)
        first = await begin(pod, ids(9, 9, 9))
        answers = await behind(pod, first, ids(1, 2, 3), ids(4, 5, 6, 7), ids(666, 1, 1))
        assert [answer.status for answer in answers] == [200, 200, 400]
        assert [answer.json["outputs"][0]["data"] for answer in answers[:2]] == [[1, 2, 3], [4, 5, 6, 7]]
        assert answers[2].json == {"error": "a bad row"}

    serve(test, strict, pad=Pad())


def test_a_request_to_which_a_mask_is_added_and_that_cannot_be_written_is_the_callers_fault() -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.metadata = (200, MASKED)
        ids = {"name": "ids", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}
        await pod.send(V2, {"inputs": [ids]})
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        calls = len(pod.upstream.calls)
        answer = await pod.send(V2, {"inputs": [{**ids, "data": ["1", 2]}], "parameters": {"binary_data_output": True}})
        assert (answer.status, "datatype" in answer.json["error"]) == (400, True)
        assert len(pod.upstream.calls) == calls
        assert (await pod.send(V2, {"inputs": [ids]})).status == 200

    serve(test, pad=Pad())


def test_a_caller_of_json_whose_part_json_does_not_carry_is_asked_for_alone() -> None:
    async def half(upstream: Upstream, request: Message) -> Any:
        length = int(request.headers.get(LENGTH, 0))
        if not length:
            return await echo(upstream, request)
        rows = json.loads(request.body[:length])["inputs"][0]["shape"][0]
        outputs = [{"name": "y", "datatype": "FP16", "shape": [rows, 1], "parameters": {"binary_data_size": 2 * rows}}]
        head = json.dumps({"outputs": outputs}).encode()
        return 200, head + bytes(2 * rows), {LENGTH: str(len(head)), "content-type": "application/octet-stream"}

    async def test(pod: Pod) -> None:
        first = await begin(pod, row(0, 0))
        wants = {"parameters": {"binary_data_output": True}}
        first_json, second_json, coded = await behind(pod, first, row(1, 1), row(2, 2), binary_row(3, 3, **wants))
        assert [answer.json["outputs"][0]["data"] for answer in (first_json, second_json)] == [[1, 1], [2, 2]]
        assert LENGTH in coded.headers
        text = pod.metrics.exposition()
        assert 'kfunc_batch_in_flight{component="batcher"} 0\n' in text
        assert 'kfunc_batch_retries_total{component="batcher"} 2\n' in text

    serve(test, half)


def test_requests_in_whose_answers_merging_shows_are_not_merged_any_more_and_others_are() -> None:
    async def counted(upstream: Upstream, request: Message) -> tuple[int, bytes]:
        document = request.json
        if "aggregate" in document:
            return 200, json.dumps({"predictions": [sum(document["instances"])]}).encode()
        return await echo(upstream, request)

    async def calls(pod: Pod, **more: object) -> int:
        before = len(pod.upstream.calls)
        pod.upstream.gate.clear()
        tasks = [asyncio.create_task(pod.send(V1, {"instances": [n], **more})) for n in range(5)]
        await asyncio.sleep(0.05)
        pod.upstream.gate.set()
        assert [answer.json["predictions"] for answer in await asyncio.gather(*tasks)] == [[n] for n in range(5)]
        return len(pod.upstream.calls) - before

    async def test(pod: Pod) -> None:
        assert await calls(pod, aggregate=True) == 1 + 1 + 4
        assert await calls(pod, aggregate=True) == 5
        assert await calls(pod) == 2

    serve(test, counted)


def test_a_length_that_is_no_number_fails_its_own_request_alone() -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        pod.upstream.gate.clear()
        wrong = asyncio.create_task(pod.send(V2, row(0, 0), inference_header_content_length="9" * 5000))
        await pod.waits(lambda: len(pod.upstream.calls) == 2)
        good = asyncio.create_task(pod.send(V2, row(1, 1)))
        await pod.waits(lambda: len(pod.upstream.calls) == 3)
        pod.upstream.gate.set()
        assert (await good).status == 200
        await wrong

    serve(test)


def test_only_of_a_models_path_metadata_are_asked() -> None:
    async def test(pod: Pod) -> None:
        for _ in range(3):
            await pod.send("/infer", row(0, 0))
        assert [request.line for request in pod.upstream.requests] == ["POST /infer HTTP/1.1"] * 3

    serve(test)


def test_metadata_are_asked_with_the_credentials_of_a_caller() -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2, row(0, 0), authorization="Bearer a", cookie="b=c")
        await pod.waits(lambda: len(pod.upstream.requests) == 2)
        asked = next(request for request in pod.upstream.requests if request.line.startswith("GET"))
        assert (asked.headers["authorization"], asked.headers["cookie"]) == ("Bearer a", "b=c")

    serve(test)


def test_a_server_that_refuses_its_metadata_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test(pod: Pod) -> None:
        pod.upstream.metadata = (401, METADATA)
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: bool(caplog.records))
        await asyncio.sleep(1.1)
        await pod.send(V2, row(0, 0))
        await pod.waits(lambda: len(pod.upstream.requests) == 4)
        await asyncio.sleep(0.05)

    serve(test)
    (record,) = caplog.records
    assert "merge: always" in record.getMessage()


def test_a_field_that_one_members_connection_names_is_not_passed_on() -> None:
    async def test(pod: Pod) -> None:
        fields = {"x_own": "1", "x_all": "2"}
        await pod.behind_one(
            pod.send(V1, {"instances": [1]}, **fields),
            pod.send(V1, {"instances": [2]}, connection="x-own", **fields),
        )
        merged = pod.upstream.calls[1].headers
        assert "x-own" not in merged
        assert merged["x-all"] == "2"

    serve(test)


def test_a_caller_who_refuses_plain_answers_gets_a_short_one_compressed() -> None:
    async def test(pod: Pod) -> None:
        refused, plain = await pod.behind_one(
            pod.send(V1, {"instances": [1]}, accept_encoding="gzip, identity;q=0"),
            pod.send(V1, {"instances": [2]}, accept_encoding="gzip;q=0.5"),
        )
        assert refused.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers

    serve(test)


@pytest.mark.parametrize("refused", [False, True])
def test_a_request_that_was_cut_goes_whole_where_its_parts_have_no_answer(
    refused: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer has an array beside V1's predictions with as many elements as a part; merged requests are refused first."""
    monkeypatch.setattr(paths, "UNMERGED_S", 0.0)

    async def answer(upstream: Upstream, request: Message) -> Any:
        rows = request.json["instances"]
        if refused and len({row // 100 for row in rows}) > 1:
            return 400, b'{"error": "not of one kind"}'
        return 200, json.dumps({"predictions": rows, "labels": ["a", "b", "c", "d"]}).encode()

    async def test(pod: Pod) -> None:
        large, small = list(range(100, 110)), [200]
        for _ in range(3):
            answers = await pod.behind_one(*(pod.send(V1, {"instances": rows}) for rows in (large, small)))
            assert [(each.status, each.json["predictions"]) for each in answers] == [(200, large), (200, small)]

    serve(test, answer, max_batch_size=4, max_in_flight=3)
    assert len([record for record in caplog.records if "labels" in record.getMessage()]) == 1


@pytest.mark.parametrize(("refused", "status"), [(7, 200), (104, 400)], ids=["it goes whole", "it has failed"])
def test_a_part_that_its_request_needs_no_more_holds_no_place(refused: int, status: int) -> None:
    """The first part of a request is on its way for long, when another one is refused: with another request, or alone."""
    over = asyncio.Event()

    async def answer(upstream: Upstream, request: Message) -> Any:
        rows = request.json["instances"]
        if rows == [100, 101, 102, 103]:
            await over.wait()
        if len(rows) in (3, 4) and refused in rows:
            return 400, b'{"error": "a bad row"}'
        return await echo(upstream, request)

    async def test(pod: Pod) -> None:
        pod.upstream.gate.clear()
        first = asyncio.create_task(pod.send(V1, {"instances": [0]}))
        await pod.waits(lambda: len(pod.upstream.calls) == 1)
        large = asyncio.create_task(pod.send(V1, {"instances": list(range(100, 110))}))
        await pod.waits(lambda: len(pod.upstream.calls) == 3)
        small = asyncio.create_task(pod.send(V1, {"instances": [7, 8]}))
        await pod.waiting(2)
        pod.upstream.gate.set()
        assert [(await each).status for each in (first, large, small)] == [200, status, 200]
        await pod.waits(lambda: 'kfunc_batch_in_flight{component="batcher"} 0\n' in pod.metrics.exposition())
        over.set()

    serve(test, answer, max_batch_size=4, max_in_flight=3)
