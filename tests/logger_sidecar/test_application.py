"""The logger between real sockets: what passes, what is recorded of it, and that nothing waits for the sink."""

import asyncio
import json
import socket
from base64 import b64decode
from collections.abc import Callable, Coroutine
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kfunc.config.inference import Limits
from kfunc.http.address import Address
from kfunc.http.pool import UpstreamPool
from kfunc.http.server import HttpServer
from kfunc.logger_sidecar.application import LoggerApplication
from kfunc.telemetry.requests import RequestRecorder
from tests.logger_sidecar.setups import Setup, forget_intake

pytestmark = pytest.mark.integration

V2 = "/v2/models/iris/infer"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    return line, {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


class Upstream:
    """Answers every request with `answer`; None closes the connection, and a client's hang is waited for."""

    def __init__(self, answer: bytes | None = b'{"outputs": []}', status: int = 200, head: str = "") -> None:
        self.answer = answer
        self.status = status
        self.head = head or "content-type: application/json\r\n"
        self.seen: list[dict[str, str]] = []
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, headers = await read_head(reader)
                await read_body(reader, headers)
                self.seen.append(headers)
                if self.silent:
                    await reader.read()
                if self.answer is None or self.silent:
                    break
                head = f"HTTP/1.1 {self.status} X\r\n{self.head}content-length: {len(self.answer)}\r\n\r\n"
                writer.write(head.encode("latin-1") + self.answer)
        writer.close()


OWN_SOURCE = "/namespaces/default/functions/iris"


class Pod:
    """The logger in front of an upstream."""

    def __init__(self, upstream: Upstream, port: int, setup: Setup, path: Path) -> None:
        self.upstream = upstream
        self.port = port
        self.setup = setup
        self._path = path

    async def send(self, target: str, body: bytes = b"{}", method: str = "POST", **headers: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            head = f"{method} {target} HTTP/1.1\r\nhost: test\r\n{fields}content-length: {len(body)}\r\n\r\n"
            writer.write(head.encode("latin-1") + body)
            line, answered = await read_head(reader)
            return Answer(int(line.split()[1]), answered, await read_body(reader, answered))
        finally:
            writer.close()

    async def events(self) -> list[dict[str, Any]]:
        await self.setup.pipeline.flush(10)
        return [json.loads(line) for line in self._path.read_bytes().splitlines()]


def serve(
    folder: Path,
    upstream: Upstream,
    test: Callable[[Pod], Coroutine[Any, Any, None]],
    listening: bool = True,
    limits: Limits | None = None,
    **settings: Any,
) -> None:
    """Run `test` with a logger whose events go to a file."""

    async def main() -> None:
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        pool = UpstreamPool(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), 30.0)
        if not listening:
            server.close()
        path = folder / "events.jsonl"
        setup = Setup(folder, **{"mode": "all", "sink": f"file:{path}", **settings})
        recorder = RequestRecorder(setup.metrics, access_log=False)
        notices = setup.pipeline._notices
        application = LoggerApplication(setup.settings, pool, setup.spool, recorder, notices, "iris", OWN_SOURCE)
        setup.pipeline.start()
        front, listener = HttpServer(application, limits or Limits()), socket.create_server(("127.0.0.1", 0))
        await front.start(listener)
        pool.start()
        try:
            async with asyncio.timeout(60):
                await test(Pod(upstream, listener.getsockname()[1], setup, path))
        finally:
            front.close()
            pool.close()
            server.close()
            await asyncio.sleep(0.05)
            await setup.crash()
            forget_intake(folder)

    asyncio.run(main())


def test_request_and_response_share_the_callers_id_which_goes_both_ways(tmp_path: Path) -> None:
    upstream = Upstream()

    async def test(pod: Pod) -> None:
        answer = await pod.send(V2, b'{"inputs": []}', x_request_id="mine")
        assert (answer.status, answer.body, answer.headers["x-request-id"]) == (200, b'{"outputs": []}', "mine")
        assert upstream.seen[0]["x-request-id"] == "mine"
        request, response = await pod.events()
        assert request["correlationid"] == response["correlationid"] == "mine"
        assert [request["data"], response["data"]] == [{"inputs": []}, {"outputs": []}]
        assert request["type"].endswith(".request")
        assert (response["type"].rpartition(".")[2], response["statuscode"]) == ("response", 200)
        assert request["time"] <= response["time"]
        assert request["id"] != response["id"]

    serve(tmp_path, upstream, test)


@pytest.mark.parametrize("given", ["", "x" * 129, "\xe4"], ids=["empty", "too long", "not ASCII"])
def test_an_id_is_made_where_none_came_that_can_be_used(tmp_path: Path, given: str) -> None:
    async def test(pod: Pod) -> None:
        answers = [await pod.send(V2, x_request_id=given), await pod.send(V2)]
        made = [answer.headers["x-request-id"] for answer in answers]
        assert made[0] != made[1]
        assert [event["correlationid"] for event in await pod.events()] == [made[0], made[0], made[1], made[1]]

    serve(tmp_path, Upstream(), test)


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("all", ["request", "response"]),
        ("metadata", ["request", "response"]),
        ("request", ["request"]),
        ("response", ["response"]),
    ],
)
def test_the_mode_says_which_events_are_written(tmp_path: Path, mode: str, kinds: list[str]) -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2)
        assert [event["type"].rpartition(".")[2] for event in await pod.events()] == kinds

    serve(tmp_path, Upstream(), test, mode=mode)


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_failure_of_the_upstream_passes_and_is_logged(tmp_path: Path, status: int) -> None:
    async def test(pod: Pod) -> None:
        answer = await pod.send(V2)
        assert (answer.status, answer.body) == (status, b'{"error": "x"}')
        _, response = await pod.events()
        assert (response["statuscode"], response["data"]) == (status, {"error": "x"})

    serve(tmp_path, Upstream(b'{"error": "x"}', status), test)


@pytest.mark.parametrize(("listening", "status"), [(True, 502), (False, 503)], ids=["lost", "refused"])
def test_an_error_of_our_own_carries_the_id_and_is_logged(tmp_path: Path, listening: bool, status: int) -> None:
    async def test(pod: Pod) -> None:
        answer = await pod.send(V2, x_request_id="mine")
        assert (answer.status, answer.headers["x-request-id"]) == (status, "mine")
        request, response = await pod.events()
        assert request["correlationid"] == response["correlationid"] == "mine"
        assert (response["statuscode"], response["data"]) == (status, json.loads(answer.body))

    serve(tmp_path, Upstream(None), test, listening=listening)


class Breaking(Upstream):
    """Answers with a part of what it has promised, and then with nothing, or no more at all."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 300000\r\n\r\n[" + b"1," * 50_000)
        await writer.drain()
        if self.silent:
            await reader.read()
        await asyncio.sleep(0.1)
        writer.transport.abort()


@pytest.mark.parametrize(("is_client", "status"), [(False, 200), (True, 499)], ids=["broken", "client gone"])
def test_an_answer_that_ends_in_the_middle_is_told_to_be_a_part(tmp_path: Path, is_client: bool, status: int) -> None:
    upstream = Breaking()
    upstream.silent = is_client

    async def test(pod: Pod) -> None:
        call = asyncio.create_task(pod.send(V2))
        await asyncio.sleep(0.2)
        if is_client:
            call.cancel()
        await asyncio.wait((call,))
        await asyncio.sleep(0.1)
        _, response = await pod.events()
        assert (response["statuscode"], response["truncated"]) == (status, True)

    serve(tmp_path, upstream, test)


def test_a_client_that_goes_away_is_logged_with_499(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.silent = True

    async def test(pod: Pod) -> None:
        call = asyncio.create_task(pod.send(V2, b"[1]"))
        while not upstream.seen:  # noqa: ASYNC110 (a list tells nobody)
            await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.sleep(0.1)
        request, response = await pod.events()
        assert (request["data"], response["statuscode"]) == ([1], 499)

    serve(tmp_path, upstream, test)


@pytest.mark.parametrize(("size", "limits", "status"), [
    (300_000, Limits(max_body_bytes=200_000), 413),
    (100_000, Limits(body_timeout_s=0.1), 408),
], ids=["too large", "too slow"])  # fmt: skip
def test_a_streamed_upload_that_is_refused_is_logged_as_the_client_saw_it(
    tmp_path: Path, size: int, limits: Limits, status: int
) -> None:
    async def test(pod: Pod) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        writer.write(f"POST {V2} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(size // 50_000):
            writer.write(b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000))
        line, headers = await read_head(reader)
        body = await read_body(reader, headers)
        writer.close()
        assert int(line.split()[1]) == status
        request, response = await pod.events()
        assert (response["statuscode"], response["data"]) == (status, json.loads(body))
        assert request["bodysize" if request.get("truncated") else "data_base64"]

    upstream = Upstream()
    upstream.silent = True
    serve(tmp_path, upstream, test, limits=limits)


SMALL = Limits(max_body_bytes=1000, max_headers=5, body_timeout_s=0.1)


@pytest.mark.parametrize(("lines", "body", "status", "size"), [
    ("content-length: 5000", b"", 413, 5000),
    ("transfer-encoding: chunked", b"7d0\r\n" + b"x" * 2000, 413, 2000),
    ("content-length: 20", b"[1, 2", 408, 20),
    ("content-type: a\r\ncontent-type: b\r\ncontent-length: 2", b"[]", 400, 2),
    ("a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5", b"", 431, None),
], ids=["announced", "chunked", "slow", "twice", "fields"])  # fmt: skip
def test_a_call_that_is_refused_for_its_head_or_its_body_is_logged_without_that(
    tmp_path: Path, lines: str, body: bytes, status: int, size: int | None
) -> None:
    async def test(pod: Pod) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        writer.write(f"POST {V2} HTTP/1.1\r\nhost: test\r\n{lines}\r\n\r\n".encode() + body)
        line, headers = await read_head(reader)
        answer = await read_body(reader, headers)
        writer.close()
        request, response = await pod.events()
        assert int(line.split()[1]) == response["statuscode"] == status
        assert (request["endpoint"], request.get("bodysize"), "data_base64" in request) == (V2, size, False)
        assert (response["correlationid"], response["data"]) == (headers["x-request-id"], json.loads(answer))

    serve(tmp_path, Upstream(), test, limits=SMALL)


def test_while_too_many_wait_for_room_what_is_refused_does_not_wait_with_them(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        pod.setup.spool.admission.clogged = True
        assert (await pod.send(V2, b"x" * 2000)).status == 413
        assert await pod.events() == []

    serve(tmp_path, Upstream(), test, limits=SMALL, on_full="block")


@pytest.mark.parametrize(("start", "status"), [
    ("POST /v2/models/iris/load HTTP/1.1\r\nhost: test\r\n", 413),
    (f"PUT {V2} HTTP/1.1\r\nhost: test\r\n", 413),
    ("POST / HTTP/1.1\r\nhost: test\r\n", 413),
    (f"POST {V2} HTTP/1.1\r\nhost: test\r\nx: {'x' * 40_000}\r\n", 431),
], ids=["load", "put", "root", "head"])  # fmt: skip
def test_what_is_refused_and_is_no_call_or_cannot_be_read_is_not_logged(tmp_path: Path, start: str, status: int) -> None:
    async def test(pod: Pod) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        writer.write(f"{start}content-length: 5000\r\n\r\n".encode())
        line, _ = await read_head(reader)
        writer.close()
        assert (int(line.split()[1]), await pod.events()) == (status, [])

    serve(tmp_path, Upstream(), test, limits=SMALL)


def test_an_event_for_the_function_is_logged_as_a_call_and_other_posts_to_its_path_are_not(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        fields = {"ce_specversion": "1.0", "ce_type": "a", "ce_source": "/b", "ce_id": "1", "content_type": "application/json"}
        await pod.send("/", b'{"inputs": []}', **fields)
        await pod.send("/", b'{"inputs": []}')
        request, response = await pod.events()
        assert (request["subject"], request["data"], response["data"]) == ("iris", {"inputs": []}, {"outputs": []})

    serve(tmp_path, Upstream(), test)


def test_an_event_of_the_functions_own_that_comes_back_is_not_logged_again(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        fields = {"ce_specversion": "1.0", "ce_type": "a", "ce_source": OWN_SOURCE, "ce_id": "1"}
        await pod.send("/", b'{"inputs": []}', **fields)
        await pod.send("/v2/models/iris/infer", b'{"inputs": []}', **fields)
        event = {"specversion": "1.0", "type": "a", "source": OWN_SOURCE, "id": "1", "data": {"inputs": []}}
        await pod.send("/", json.dumps(event).encode(), content_type="application/cloudevents+json")
        assert len(pod.upstream.seen) == 3
        assert await pod.events() == []

    serve(tmp_path, Upstream(), test)


def test_binary_tensors_are_logged_with_what_is_needed_to_split_them(tmp_path: Path) -> None:
    answer = b'{"outputs":[]}\x01\x02'
    upstream = Upstream(answer, head="content-type: application/octet-stream\r\ninference-header-content-length: 14\r\n")

    async def test(pod: Pod) -> None:
        fields = {"content_type": "application/octet-stream", "inference_header_content_length": "13"}
        await pod.send(V2, b'{"inputs":[]}\xff', **fields)
        request, response = await pod.events()
        assert [request["inferenceheaderlen"], response["inferenceheaderlen"]] == [13, 14]
        assert [event["datacontenttype"] for event in (request, response)] == ["application/octet-stream"] * 2
        assert b64decode(response["data_base64"]) == answer

    serve(tmp_path, upstream, test)


@pytest.mark.parametrize(
    ("target", "method"), [("/v2/models/iris", "GET"), ("/v2/health/ready", "GET"), ("/v2/repository/index", "POST")]
)
def test_what_is_no_inference_call_passes_without_events(tmp_path: Path, target: str, method: str) -> None:
    async def test(pod: Pod) -> None:
        assert (await pod.send(target, b"", method)).status == 200
        assert await pod.events() == []

    serve(tmp_path, Upstream(), test)


@pytest.mark.parametrize("target", ["/v2/models/iris/infer?x=1", "/v2/models/iris/%69nfer", "http://h/v2/models/iris/infer"])
def test_no_other_way_to_write_the_path_avoids_the_log(tmp_path: Path, target: str) -> None:
    async def test(pod: Pod) -> None:
        await pod.send(target)
        assert [event["subject"] for event in await pod.events()] == ["iris", "iris"]

    serve(tmp_path, Upstream(), test)


@pytest.mark.parametrize("size", [9, 10, 11, 200_000], ids=["below", "at the limit", "above", "streamed"])
def test_long_bodies_pass_whole_and_are_cut_in_their_events(tmp_path: Path, size: int) -> None:
    body = b'"' + b"x" * (size - 2) + b'"'

    async def test(pod: Pod) -> None:
        assert (await pod.send(V2, body)).body == body
        for event in await pod.events():
            if size > 10:
                assert (event["truncated"], event["bodysize"]) == (True, size)
                assert event["data_base64"] == "Inh4eHh4eHh4eA=="
            else:
                assert event["data"] == body[1:-1].decode()
                assert "truncated" not in event

    serve(tmp_path, Upstream(body), test, max_body_bytes=10)


@pytest.mark.parametrize("content_type", ['a"b\\c', "\xe4\xf6; q", "\t", "x" * 8000])
def test_hostile_headers_are_data_and_nothing_else(tmp_path: Path, content_type: str) -> None:
    async def test(pod: Pod) -> None:
        given = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": '","id":"0', "x_request_id": '"},{"'}
        await pod.send(V2 + "?'\"\\%00", b"\xff", content_type=content_type, **given)
        request, response = await pod.events()
        assert request["datacontenttype"] == (content_type.strip() or "application/octet-stream")
        assert request["tracestate"] == '","id":"0'
        assert request["correlationid"] == response["correlationid"] == '"},{"'
        assert request["id"] != "0"

    serve(tmp_path, Upstream(), test)


def test_liveness_is_the_loggers_own_and_does_not_wait_for_a_model(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        answer = await pod.send("/v2/health/live", b"", "GET")
        assert (answer.status, answer.body) == (200, b'{"live":true}')
        assert (await pod.send("/v2/health/ready", b"", "GET")).status == 503

    serve(tmp_path, Upstream(), test, listening=False)


def test_with_metadata_no_body_is_written_down_but_its_size_is(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2, b'{"inputs": []}')
        request, response = await pod.events()
        assert [event.get("data", event.get("data_base64")) for event in (request, response)] == [None, None]
        assert (request["bodysize"], response["bodysize"], response["statuscode"]) == (14, 15, 200)

    serve(tmp_path, Upstream(), test, mode="metadata")


@pytest.mark.parametrize(
    ("settings", "target", "logged"),
    [
        ({"models": ["iris"]}, V2, True),
        ({"models": ["iri*"]}, V2, True),
        ({"models": ["other"]}, V2, False),
        ({"paths": ["/v2/*"]}, V2, True),
        ({"paths": ["/v1/*"]}, V2, False),
        ({"paths": ["/v1/*"]}, "/v1/models/iris:predict", True),
        ({"paths": ["/v2/*"]}, "/v2/models/iris/%69nfer", True),
        ({"sample": 0}, V2, False),
        ({"sample": 1}, V2, True),
    ],
)
def test_filters_decide_which_calls_are_logged(tmp_path: Path, settings: dict[str, Any], target: str, logged: bool) -> None:
    async def test(pod: Pod) -> None:
        assert (await pod.send(target)).status == 200
        assert bool(await pod.events()) is logged

    serve(tmp_path, Upstream(), test, **settings)


def test_only_allowed_header_fields_are_written_down(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        await pod.send(V2, x_user="ann", authorization="Bearer secret")
        request, _ = await pod.events()
        assert json.loads(request["headers"]) == {"x-user": "ann"}
        assert "secret" not in json.dumps(request)

    serve(tmp_path, Upstream(), test, headers=["X-User", "x-absent"])


def test_what_is_to_be_redacted_reaches_neither_disk_nor_shared_memory_nor_sink(tmp_path: Path) -> None:
    upstream = Upstream(b'{"predictions": [{"ssn": "078-05-1120", "label": 1}]}')

    async def test(pod: Pod) -> None:
        answer = await pod.send("/v1/models/iris:predict", b'{"instances": [{"ssn": "078-05-1120"}]}')
        assert b"078-05-1120" in answer.body
        pod.setup.spool.drain()
        await asyncio.sleep(0.05)
        files = [path for path in tmp_path.rglob("*") if path.is_file()] + [Path(pod.setup.spool.intake.path)]  # noqa: ASYNC240
        assert not [path for path in files if b"078-05-1120" in path.read_bytes()]
        request, response = await pod.events()
        assert request["data"]["instances"][0]["ssn"].startswith("sha256:")
        assert request["data"]["instances"][0]["ssn"] == response["data"]["predictions"][0]["ssn"]
        assert (response["redacted"], response["data"]["predictions"][0]["label"]) == (True, 1)

    serve(tmp_path, upstream, test, redact=["ssn"])


def test_a_body_that_is_cut_has_the_digest_of_the_whole(tmp_path: Path) -> None:
    body = b"x" * 200_000

    async def test(pod: Pod) -> None:
        await pod.send(V2, body)
        for event in await pod.events():
            assert event["bodydigest"] == f"sha256:{sha256(body).hexdigest()}"

    serve(tmp_path, Upstream(body), test, max_body_bytes=1000)


def test_a_streamed_answer_is_logged_whole_and_its_chunks_are_not_held_back(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await go_on.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        await reader.read()
        writer.close()

    class Streaming(Upstream):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await stream(reader, writer)

    async def test(pod: Pod) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        writer.write(f"POST {V2} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        _, headers = await read_head(reader)
        assert await reader.readuntil(b"data: 1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        assert pod.setup.spool.calls == 0
        go_on.set()
        await reader.readuntil(b"0\r\n\r\n")
        assert pod.setup.spool.calls == 1
        writer.close()
        _, response = await pod.events()
        assert b64decode(response["data_base64"]) == b"data: 1\n\ndata: 2\n\n"
        assert response["datacontenttype"] == headers["content-type"] == "text/event-stream"

    serve(tmp_path, Streaming(), test)


@pytest.mark.parametrize("size", [100, 200_000], ids=["whole", "streamed"])
def test_when_the_answer_has_arrived_the_call_is_accepted(tmp_path: Path, size: int) -> None:
    async def test(pod: Pod) -> None:
        for number in range(1, 6):
            await pod.send(V2)
            assert pod.setup.spool.calls == number

    serve(tmp_path, Upstream(b"x" * size), test)


def test_for_auditors_requests_are_refused_while_too_many_wait_for_room(tmp_path: Path) -> None:
    async def test(pod: Pod) -> None:
        pod.setup.spool.admission.clogged = True
        answer = await pod.send(V2)
        assert (answer.status, answer.headers["retry-after"], pod.upstream.seen) == (503, "1", [])

    serve(tmp_path, Upstream(), test, on_full="block")


@pytest.mark.parametrize("size", [100, 200_000], ids=["whole", "streamed"])
def test_for_auditors_an_answer_waits_for_room_in_the_spool_and_comes_whole(tmp_path: Path, size: int) -> None:
    async def test(pod: Pod) -> None:
        setup = pod.setup
        while setup.spool.append(b"x" * 100_000, lambda: None):
            setup.spool.intake.set_drained(setup.spool.intake.drained)
        call = asyncio.create_task(pod.send(V2))
        await asyncio.sleep(0.1)
        assert not call.done()
        setup.spool.advance(setup.cursor("http-127.0.0.1-9"), setup.spool.position(), 1)
        async with asyncio.timeout(5):
            assert (await call).body == b"y" * size

    bounds: dict[str, Any] = {"on_full": "block", "spool_max_bytes": 1 << 20, "max_body_bytes": 1000}
    serve(tmp_path, Upstream(b"y" * size), test, sink="http://127.0.0.1:9/", **bounds)


@pytest.mark.parametrize("size", [100, 2_000_000], ids=["whole", "streamed"])
def test_for_auditors_no_answer_goes_out_whole_that_waits_for_room_at_the_end(tmp_path: Path, size: int) -> None:
    async def test(pod: Pod) -> None:
        setup = pod.setup
        while setup.spool.append(b"x" * 100_000, lambda: None):
            pass
        for when in ("before", "after"):
            call = asyncio.create_task(pod.send(V2))
            if when == "before":
                await asyncio.sleep(0.1)
                assert not call.done()
                setup.spool.admission.give_up()
                setup.spool.admission.clogged = False  # as for a request that is under way
                while setup.spool.append(b"x" * 100, lambda: None):
                    pass
            if size == 100:
                assert (await call).status == 503
            else:
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await call

    bounds: dict[str, Any] = {"on_full": "block", "spool_max_bytes": 1 << 20, "max_body_bytes": 1000}
    serve(tmp_path, Upstream(b"y" * size), test, sink="http://127.0.0.1:9/", **bounds)
