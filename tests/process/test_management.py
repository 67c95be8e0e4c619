"""The management port over real sockets: its own metrics and those of the others."""

import asyncio
import socket
from http.client import HTTPConnection

import grpc
import pytest

from kfunc.errors import NotFound
from kfunc.http.address import Address
from kfunc.http.exchange import Exchange
from kfunc.process.management import MAX_BODY_BYTES, Management, serve_management
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.recent import RecentRequests

pytestmark = pytest.mark.integration


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def port(of: socket.socket) -> int:
    return int(of.getsockname()[1])


def get(at: int, path: str, method: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", at, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def ask(path: str = "/metrics", method: str = "GET", label: str = "") -> tuple[int, str]:
    """Ask a logger that shows a handler's metrics too, and those of a third that does not answer."""

    async def main() -> tuple[int, str]:
        handler, logger, nobody = listener(), listener(), listener()
        absent = Address("127.0.0.1", port(nobody))
        nobody.close()
        servers = []
        for name, where, scrape in (
            ("handler", handler, []),
            ("logger", logger, [Address("127.0.0.1", port(handler)), absent]),
        ):
            metrics = Metrics(name)
            metrics.counter("a_total", "A.", {"label": label} if label else None).add()
            metrics.counter("b_total", "B.").add()
            servers.append(await serve_management(metrics, where, scrape))
        answer = await asyncio.to_thread(get, port(logger), path, method)
        for server in servers:
            assert server is not None
            server.close()
        await asyncio.sleep(0)
        return answer

    return asyncio.run(main())


def test_a_scrape_shows_the_whole_pod_without_those_that_do_not_answer() -> None:
    status, text = ask("/metrics?name[]=a_total")
    lines = ["# HELP a_total A.", "# TYPE a_total counter", 'a_total{component="logger"} 1', 'a_total{component="handler"} 1']
    assert (status, text.splitlines()) == (200, lines)


def test_a_scrape_without_names_shows_all() -> None:
    assert [line.partition("{")[0] for line in ask()[1].splitlines() if line[0] != "#"] == ["a_total"] * 2 + ["b_total"] * 2


def test_a_label_that_cannot_be_sent_keeps_no_scrape() -> None:
    assert ask(label="\ud800\r\u2028")[0] == 200


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/metrics", 405), ("GET", "/", 404), ("GET", "/v2", 404)])
def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    found, text = ask(path, method)
    assert found == status
    assert text.startswith('{"error":')


def test_a_call_of_grpc_hears_where_the_models_are_managed() -> None:
    async def run() -> str:
        where = listener()
        server = await serve_management(Metrics("logger"), where, [])
        assert server is not None
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port(where)}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")(b"")
        server.close()
        return f"{caught.value.code().name}: {caught.value.details()}"

    said = "UNIMPLEMENTED: this management port serves /metrics alone; models are managed on the handler's"
    assert asyncio.run(run()) == said


class Peer:
    """The transport, and the connection, of a caller with an address."""

    def __init__(self, *address: object) -> None:
        self.transport = self
        self._address = address or ""
        self.said = b""

    def get_extra_info(self, name: str) -> object:
        assert name == "peername"
        return self._address

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        self.said = body


@pytest.mark.parametrize(
    ("peer", "host", "told"),
    [
        (Peer("127.0.0.1", 4000), b"localhost", True),
        (Peer("127.0.0.1", 4000), b"rebound.example", False),
        (Peer("::ffff:127.0.0.1", 4000, 0, 0), b"127.0.0.1:9097", True),
        (Peer(), b"localhost", True),
        (Peer("10.1.2.3", 4000), b"localhost", False),
        (Peer("2001:db8::1", 4000, 0, 0), b"localhost", False),
    ],
)
def test_the_last_requests_are_told_on_this_machine_alone(peer: Peer, host: bytes, told: bool) -> None:
    management = Management(Metrics("handler"), [], None, RecentRequests(3))
    exchange = Exchange(peer, b"GET", b"/requests", [], {b"host": host}, True)  # type: ignore[arg-type]
    if told:
        management.handle(exchange)
        assert peer.said == b"[]"
    else:
        with pytest.raises(NotFound):
            management.handle(exchange)


class Others:
    """Answers every path with the length of the body."""

    stream_above = 0

    def handle(self, exchange: Exchange) -> None:
        exchange.respond(200, b"%d" % len(exchange.body))

    def observe(self, exchange: Exchange) -> None: ...


@pytest.mark.parametrize(("length", "answer"), [(0, (200, "0")), (50_000, (200, "50000"))])
def test_what_a_process_has_besides_is_answered_with_whole_bodies(length: int, answer: tuple[int, str]) -> None:
    assert post(length) == answer


def test_a_body_that_is_too_large_for_management_is_413() -> None:
    assert post(MAX_BODY_BYTES + 1)[0] == 413


def post(length: int) -> tuple[int, str]:
    async def main() -> tuple[int, str]:
        where = listener()
        server = await serve_management(Metrics("handler"), where, [], Others())
        answer = await asyncio.to_thread(send, port(where), length)
        assert server is not None
        server.close()
        await asyncio.sleep(0)
        return answer

    return asyncio.run(main())


def send(at: int, length: int) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", at, timeout=10)
    connection.request("POST", "/other", b"x" * length)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text
