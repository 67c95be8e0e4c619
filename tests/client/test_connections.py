"""Both transports against a server that fails in every way; the retries of both clients, counted where requests arrive."""

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.client import (
    Client,
    ClientError,
    ConnectionLost,
    InvalidAnswer,
    InvalidCall,
    NotConnected,
    Refused,
    TimedOut,
    Unavailable,
)
from tests.client.faults import FaultServer, answer, hang_up, keep_silent, reset, soon

Faulty = Callable[..., FaultServer]
MakeClient = Callable[..., Any]

LATER = answer(503, b'{"error": "loading"}', "Retry-After: 0")
DOWN = answer(503, b'{"error": "down"}')
PREDICTED = answer(200, b'{"predictions": [1]}')
SERVER = answer(200, b'{"name": "some", "version": "1", "extensions": []}')
LIVE = answer(200, b"{}")

pytestmark = pytest.mark.integration


def predict(client: Any) -> Any:
    return client.predict([[1]], model="m").predictions


def test_a_post_that_the_server_put_off_is_sent_again(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(LATER, LATER, PREDICTED)
    assert predict(make_client(server.url)) == [1]
    assert server.posts == 3


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (hang_up, ConnectionLost),
        (reset, ConnectionLost),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", None),
        (b"not http at all\r\n\r\n", InvalidAnswer),
        (DOWN, Unavailable),
        (answer(500, b'{"error": "broken"}'), ClientError),
        (answer(502), ClientError),
        (answer(504), ClientError),
        (answer(429, b"", "Retry-After: 0"), Refused),
        (answer(200, b"not json"), InvalidAnswer),
    ],
)
def test_a_post_that_may_have_run_is_never_sent_again(
    faulty: Faulty, make_client: MakeClient, step: Any, error: type[ClientError] | None
) -> None:
    server = faulty(step)
    with pytest.raises(error or TimedOut):
        make_client(server.url, timeout_s=1.0, retries=5).predict([[1]], model="m")
    assert server.posts == 1


def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_lost(faulty: Faulty, make_client: MakeClient) -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")

    server = faulty(half)
    with pytest.raises(ConnectionLost, match="may have run"):
        predict(make_client(server.url))
    assert server.posts == 1


def test_a_chunked_answer_that_ends_early_is_lost(faulty: Faulty, make_client: MakeClient) -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{")

    with pytest.raises(ConnectionLost):
        predict(make_client(faulty(half).url))


@pytest.mark.parametrize("step", [hang_up, reset, DOWN, answer(502), answer(504)])
def test_a_get_is_sent_again_whatever_happened(faulty: Faulty, make_client: MakeClient, step: Any) -> None:
    server = faulty(step, step, SERVER)
    assert make_client(server.url).server_metadata().name == "some"
    assert len(server.requests) >= 3


def test_the_last_answer_is_what_is_told(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(LATER)
    with pytest.raises(Unavailable, match="503 Some: loading") as caught:
        predict(make_client(server.url, retries=2))
    assert server.posts == 3
    assert (caught.value.status, caught.value.retry_after_s, caught.value.may_have_run) == (503, 0.0, False)


def test_without_retries_one_request_is_sent(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(LATER)
    with pytest.raises(Unavailable):
        predict(make_client(server.url, retries=0))
    assert server.posts == 1


def test_a_wait_that_the_time_does_not_allow_is_not_begun(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(503, b"", "Retry-After: 60"))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        predict(make_client(server.url, timeout_s=5))
    assert time.monotonic() - began < 2


def test_a_server_that_says_nothing_is_timed_out(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(keep_silent)
    with pytest.raises(TimedOut, match="did not answer POST /v1/models/m:predict in time") as caught:
        predict(make_client(server.url, timeout_s=0.2))
    assert caught.value.may_have_run
    assert server.posts == 1


def test_a_call_has_a_time_of_its_own(faulty: Faulty, make_client: MakeClient) -> None:
    with pytest.raises(TimedOut):
        make_client(faulty(keep_silent).url).predict([[1]], model="m", timeout_s=0.2)


def test_where_nothing_listens_the_message_says_what_to_do(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(LIVE)
    server.close()
    with pytest.raises(NotConnected, match="start the function with `kfunc run`") as caught:
        predict(make_client(server.url, retries=1))
    assert not caught.value.may_have_run


def test_a_server_that_starts_late_is_tried_again(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(PREDICTED, listening=False)
    threading.Timer(0.15, server.listen).start()
    assert predict(make_client(server.url, retries=5)) == [1]
    assert server.posts == 1


def test_a_host_that_does_not_exist_is_named(make_client: MakeClient) -> None:
    with pytest.raises(NotConnected, match=r"nowhere\.invalid"):
        predict(make_client("http://nowhere.invalid", retries=0))


def test_a_redirect_is_not_followed(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(307, b"", "Location: https://elsewhere.example/"))
    with pytest.raises(Refused, match=r"elsewhere\.example"):
        predict(make_client(server.url))
    assert server.posts == 1


def test_connections_are_kept(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(PREDICTED)
    client = make_client(server.url)
    assert [predict(client) for _ in range(5)] == [[1]] * 5
    assert server.connections == 1


def test_an_answer_that_ends_the_connection_is_read_whole(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(200, b'{"predictions": [1]}', "connection: close"))
    client = make_client(server.url)
    assert [predict(client), predict(client)] == [[1], [1]]
    assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(faulty: Faulty, make_client: MakeClient) -> None:
    def once(connection: socket.socket) -> None:
        connection.sendall(PREDICTED)

    server = faulty(once)
    client = make_client(server.url, retries=0)
    assert predict(client) == [1]
    (time.sleep if isinstance(client, Client) else client.rest)(0.1)
    assert predict(client) == [1]
    assert server.posts == 2


def test_an_early_answer_to_a_large_body_reaches_the_caller(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer(413, b'{"error": "too large"}', "connection: close"))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Refused, match="413 Some: too large"):
            make_client(url).predict([[0.5] * 1_000_000], model="m")
        thread.join(10)


def test_a_large_answer_comes_whole(faulty: Faulty, make_client: MakeClient) -> None:
    numbers = [1] * 3_000_000
    body = b'{"predictions": [%b]}' % b", ".join([b"1"] * len(numbers))
    assert predict(make_client(faulty(answer(200, body)).url)) == numbers


def test_a_chunked_answer_is_put_together(faulty: Faulty, make_client: MakeClient) -> None:
    body = b'{"predictions"\r\n7\r\n: [[1]]\r\n1\r\n}\r\n0\r\n\r\n'
    server = faulty(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ne\r\n" + body)
    client = make_client(server.url)
    assert predict(client) == [[1]]
    assert predict(client) == [[1]]


@pytest.mark.parametrize("headers", [{"x-a": "1\r\nx-b: 2"}, {"x a": "1"}, {"x-a": "\u20ac"}])
def test_a_header_that_would_break_the_head_is_refused(
    faulty: Faulty, make_client: MakeClient, headers: dict[str, str]
) -> None:
    server = faulty(PREDICTED)
    with pytest.raises(InvalidCall):
        make_client(server.url, headers=headers).predict([[1]], model="m")
    assert b"x-b" not in b"".join(server.requests)


def test_the_headers_of_a_call_come_on_top_of_the_client_s(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(PREDICTED)
    client = make_client(server.url, headers={"X-One": "1", "X-Two": "1"})
    client.predict([[1]], model="m", headers={"x-two": "2"})
    head = server.requests[0].lower()
    assert b"x-one: 1\r\n" in head
    assert head.count(b"x-two:") == 1
    assert b"x-two: 2\r\n" in head


def test_a_closed_client_says_so(faulty: Faulty, make_client: MakeClient) -> None:
    client = make_client(faulty(PREDICTED).url)
    assert predict(client) == [1]
    client.close()
    with pytest.raises(InvalidCall, match="closed"):
        predict(client)


def test_a_server_without_tls_is_no_https_server(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_plainly() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer(400))

        thread = threading.Thread(target=answer_plainly)
        thread.start()
        with pytest.raises(NotConnected):
            predict(make_client(f"https://127.0.0.1:{listener.getsockname()[1]}", retries=0))
        thread.join(10)


# ---- threads and processes


def test_threads_share_a_client(faulty: Faulty) -> None:
    server = faulty(PREDICTED)
    with Client(server.url) as client:
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.extend(predict(client) for _ in range(20))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert results == [1] * 0 + [[1]] * 160
    assert server.connections <= 8


def test_a_forked_child_opens_connections_of_its_own(faulty: Faulty) -> None:
    server = faulty(PREDICTED)
    with Client(server.url) as client:
        assert predict(client) == [1]
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if predict(client) == [1] else 1)
            except BaseException:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert predict(client) == [1]
    assert server.connections == 2


def test_a_call_that_is_broken_off_leaves_no_connection_with_half_an_answer(faulty: Faulty) -> None:
    server = faulty(keep_silent, PREDICTED)
    with Client(server.url, retries=0) as client:
        with pytest.raises(TimedOut):
            client.predict([[1]], model="m", timeout_s=0.1)
        assert predict(client) == [1]
    assert soon(lambda: server.connections == 2)


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of its own for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", certificate, "-days", "1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*map(str, command), *names], check=True, capture_output=True, timeout=60)
    return certificate, key


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[str]:
    """The URL of a server that answers each request over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as wrapped:
                        while wrapped.recv(100_000):
                            wrapped.sendall(PREDICTED)
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_a_certificate_that_nobody_trusts_is_told_so(make_client: MakeClient, secure: str) -> None:
    with pytest.raises(NotConnected, match=r"certificate .* is not trusted: .*; give tls="):
        predict(make_client(secure, retries=0))


def test_a_certificate_that_the_caller_trusts_is_taken(
    make_client: MakeClient, secure: str, certificate: tuple[Path, Path]
) -> None:
    client = make_client(secure, tls=ssl.create_default_context(cafile=certificate[0]))
    assert [predict(client), predict(client)] == [[1], [1]]
    client.close()
