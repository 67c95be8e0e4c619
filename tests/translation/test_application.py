"""The layer around an application that stands for a server of one protocol."""

import gc
import gzip
import json
from typing import Any

import pytest

from kfunc.errors import BadGateway, KfuncError, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.translation.application import TranslatingApplication

METADATA = {"name": "m", "versions": ["1"], "platform": "x", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
METADATA["outputs"] = []
ANSWER = {"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [2, 4]}]}


class Server:
    """Answers by method and target; what was asked is kept."""

    stream_above = 2**62

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.ended: list[tuple[str, int]] = []

    def handle(self, exchange: Exchange) -> None:
        line = f"{exchange.method.decode()} {exchange.target.decode()}"
        self.asked.append((line, json.loads(exchange.body) if exchange.body else None))
        answer = self.answers.get(line)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            exchange.respond(404, b'{"error": "no such path"}')
        else:
            exchange.relay(200, b"content-type: application/json\r\n", json.dumps(answer).encode())

    def observe(self, exchange: Exchange) -> None:
        self.ended.append((f"{exchange.method.decode()} {exchange.target.decode()}", exchange.status))


class Client:
    """A connection that keeps its answer."""

    body = b""

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        self.body = body

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None: ...
    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None: ...
    def send_end(self, exchange: Exchange) -> None: ...
    def reset(self, exchange: Exchange) -> None: ...
    def hold(self, exchange: Exchange, paused: bool) -> None: ...


def translating(server: Server, speaks: str) -> TranslatingApplication:
    return TranslatingApplication(server, speaks, "m", 1000)


def ask(application: TranslatingApplication, line: str, body: Any = None, **fields: str) -> tuple[int, Any]:
    client = Client()
    method, target = line.encode().split()
    headers = {b"host": b"x", **{name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}}
    exchange = Exchange(client, method, target, list(headers.items()), headers, True)
    exchange.body, exchange.complete = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b"", True
    try:
        application.handle(exchange)
    except KfuncError as error:  # as HttpServer.dispatch does
        exchange.fail(error)
    application.observe(exchange)
    return exchange.status, json.loads(client.body)


V2_SERVER = {"GET /v2/models/m": METADATA, "POST /v2/models/m/infer": ANSWER, "GET /v2/models/m/ready": {}}
V1_SERVER = {
    "POST /v1/models/m:predict": {"predictions": [2, 4]},
    "GET /v1/models/m": {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]},
    "GET /v1/models/n": {"model_version_status": [{"version": "1", "state": "LOADING"}]},
    "GET /v1/models/k": {"name": "k", "ready": "True"},
}
INPUT = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}


def test_v1_is_asked_as_v2_with_the_models_own_types() -> None:
    server = Server(**V2_SERVER)
    application = translating(server, "v2")
    for _ in range(2):
        assert ask(application, "POST /v1/models/m:predict", {"instances": [1, 2]}) == (200, {"predictions": [2, 4]})
    assert server.asked == [
        ("GET /v2/models/m", None),
        ("POST /v2/models/m/infer", {"inputs": [INPUT]}),
        ("POST /v2/models/m/infer", {"inputs": [INPUT]}),
    ]


def test_v2_is_asked_as_v1() -> None:
    server = Server(**V1_SERVER)
    status, answer = ask(translating(server, "v1"), "POST /v2/models/m/infer", {"inputs": [INPUT]})
    assert (status, answer["outputs"]) == (200, [{"name": "output-0", "datatype": "INT64", "shape": [2], "data": [2, 4]}])
    assert server.asked == [("POST /v1/models/m:predict", {"instances": [1, 2]})]


@pytest.mark.parametrize(
    ("speaks", "line", "answer"),
    [
        ("v2", "GET /v1/models/m", (200, {"name": "m", "ready": True})),
        ("v2", "GET /v1/models/other", (404, {"error": "no such path"})),
        ("v1", "GET /v2/health/ready", (200, {"ready": True})),
        ("v1", "GET /v2/models/m/ready", (200, {"name": "m", "ready": True})),
        ("v1", "GET /v2/models/n/ready", (503, {"name": "n", "ready": False})),
        ("v1", "GET /v2/models/k/ready", (200, {"name": "k", "ready": True})),
    ],
)
def test_readiness_is_translated(speaks: str, line: str, answer: Any) -> None:
    server = Server(**(V2_SERVER if speaks == "v2" else V1_SERVER))
    assert ask(translating(server, speaks), line) == answer


@pytest.mark.parametrize("line", ["POST /v2/models/m/infer", "GET /v2/models/m", "GET /metrics", "POST /v1/models/m:explain"])
def test_what_the_server_speaks_passes_as_it_came(line: str) -> None:
    server = Server(**V2_SERVER)
    ask(translating(server, "v2"), line, {"inputs": [INPUT]})
    assert [asked for asked, _ in server.asked] == [line]


def test_a_versions_path_is_kept() -> None:
    server = Server()
    ask(translating(server, "v2"), "POST /v1/models/m/versions/3:predict", {"instances": [1]})
    assert server.asked == [("GET /v2/models/m/versions/3", None)]


def test_an_error_of_the_server_reaches_the_caller_as_it_is() -> None:
    application = translating(Server(), "v2")
    assert ask(application, "POST /v1/models/m:predict", {"instances": [1]}) == (404, {"error": "no such path"})


def test_a_full_queue_is_told_to_the_caller() -> None:
    answers = {**V2_SERVER, "POST /v2/models/m/infer": Unavailable("the queue is full")}
    status, answer = ask(translating(Server(**answers), "v2"), "POST /v1/models/m:predict", {"instances": [1]})
    assert (status, answer) == (503, {"error": "the queue is full"})


def test_the_server_is_told_of_each_end_once() -> None:
    server = Server(**V2_SERVER)
    ask(translating(server, "v2"), "POST /v1/models/m:predict", {"instances": [1, 2]})
    ask(translating(server, "v2"), "GET /metrics")
    assert server.ended == [("GET /v2/models/m", 200), ("POST /v2/models/m/infer", 200), ("GET /metrics", 404)]


@pytest.mark.parametrize(
    ("answer", "status"), [(Unavailable("the queue is full"), 503), ([1], 502), ({"predictions": [1]}, 200)]
)
def test_what_was_asked_ends_with_the_status_that_its_caller_got(answer: Any, status: int) -> None:
    server = Server(**{"POST /v1/models/m:predict": answer})
    assert ask(translating(server, "v1"), "POST /v2/models/m/infer", {"inputs": [INPUT]})[0] == status
    assert server.ended == [("POST /v1/models/m:predict", status)]


class Waiting(Server):
    """Keeps what it was asked."""

    kept: Exchange

    def handle(self, exchange: Exchange) -> None:
        self.kept = exchange


def asked_of(server: Waiting) -> tuple[TranslatingApplication, Exchange]:
    """A request in whose place another one waits at the server."""
    exchange = Exchange(Client(), b"POST", b"/v2/models/m/infer", [], {}, True)
    exchange.body, exchange.complete = json.dumps({"inputs": [INPUT]}).encode(), True
    application = translating(server, "v1")
    application.handle(exchange)
    return application, exchange


def test_what_was_asked_for_a_client_that_is_gone_is_given_up_and_counted() -> None:
    server, left = Waiting(), []
    application, exchange = asked_of(server)
    server.kept.on_cancel = lambda: left.append(server.kept.cancelled)
    exchange.cancel()
    application.observe(exchange)
    assert left == [True]
    assert server.ended == [("POST /v1/models/m:predict", 0)]


def test_what_has_been_answered_is_over_as_an_exchange_of_a_connection_is() -> None:
    server = Waiting()
    _, exchange = asked_of(server)
    server.kept.relay(400, b"", b"{}")
    assert server.kept.cancelled
    server.kept.relay(200, b"", b"{}")
    assert exchange.status == 400


def test_an_answer_that_breaks_off_is_502_for_its_caller_and_over() -> None:
    server = Waiting()
    application, exchange = asked_of(server)
    server.kept.start(200, b"")
    server.kept.fail(BadGateway("the server is gone"))
    application.observe(exchange)
    assert exchange.status == 502
    assert server.ended == [("POST /v1/models/m:predict", 502)]


def test_what_was_asked_leaves_nothing_to_the_collector() -> None:
    server = Server(**V1_SERVER)
    application = translating(server, "v1")

    def living() -> int:
        return len([each for each in gc.get_objects() if isinstance(each, Exchange)])

    gc.collect()
    gc.disable()
    try:
        before = living()  # other tests' logs may have some
        ask(application, "POST /v2/models/m/infer", {"inputs": [INPUT]})
        assert living() == before
    finally:
        gc.enable()


WIDE = {"instances": [2**80]}


@pytest.mark.parametrize("known", [False, True])
def test_a_number_of_more_than_64_bits_is_the_callers_fault(known: bool) -> None:
    application = translating(Server(**V2_SERVER), "v2")
    if known:
        ask(application, "POST /v1/models/m:predict", {"instances": [1, 2]})
    status, answer = ask(application, "POST /v1/models/m:predict", WIDE)
    assert (status, "64-bit" in answer["error"]) == (400, True)


def test_an_answer_that_nobody_thought_of_is_a_500_and_the_caller_hears_of_it() -> None:
    class Odd(Server):
        def handle(self, exchange: Exchange) -> None:
            exchange.relay(200, "no bytes", b"")  # type: ignore[arg-type]

    asked = ask(translating(Odd(), "v1"), "POST /v2/models/m/infer", {"inputs": [INPUT]})
    assert asked == (500, {"error": "internal error; the log of the server says more"})


def test_a_compressed_body_is_translated_too() -> None:
    body = gzip.compress(json.dumps({"inputs": [INPUT]}).encode())
    server = Server(**V1_SERVER)
    assert ask(translating(server, "v1"), "POST /v2/models/m/infer", body, content_encoding="gzip")[0] == 200
    assert server.asked == [("POST /v1/models/m:predict", {"instances": [1, 2]})]
    body = gzip.compress(bytes(2000))
    assert ask(translating(server, "v1"), "POST /v2/models/m/infer", body, content_encoding="gzip")[0] == 413


def test_only_reading_methods_are_answered_as_status() -> None:
    server = Server(**V2_SERVER)
    ask(translating(server, "v2"), "DELETE /v1/models/m")
    assert [asked for asked, _ in server.asked] == ["DELETE /v1/models/m"]
