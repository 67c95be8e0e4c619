"""The web client: what is not followed, what is tried again and when, what TLS may say."""

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Interrupted
from kfunc.storage.web import WebClient
from tests.storage.web_server import WebServer


@pytest.fixture
def client() -> Iterator[WebClient]:
    client = WebClient()
    yield client
    client.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_what_is_posted_goes_to_no_other_server(web: WebServer, client: WebClient, status: int) -> None:
    with WebServer() as elsewhere:
        web.answers["/encrypt"] = lambda handler: handler.send(status, b"", {"location": f"{elsewhere.url}/encrypt"})
        with pytest.raises(ModelLoadError, match="redirects a POST, which is not followed"):
            client.get(f"{web.url}/encrypt", method="POST", body=b"key")
        assert elsewhere.asked == []


@pytest.mark.parametrize(("told", "after_s"), [("7", 7.0), ("", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)])
def test_a_server_says_when_it_may_be_asked_again(web: WebServer, client: WebClient, told: str, after_s: float) -> None:
    web.answers["/m"] = lambda handler: handler.send(503, b"", {"retry-after": told})
    with pytest.raises(Interrupted) as told_again:
        client.get(f"{web.url}/m")
    assert told_again.value.after_s == after_s


@pytest.fixture
def breaking() -> Iterator[int]:
    """The port of a server that reads what begins a connection and ends it in order."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(65536)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_a_tls_connection_that_ends_early_is_tried_again(breaking: int, client: WebClient) -> None:
    with pytest.raises(Interrupted):
        client.get(f"https://127.0.0.1:{breaking}/m")


def test_a_certificate_that_is_refused_is_final_and_told(
    breaking: int, client: WebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: object) -> None:
        error = ssl.SSLCertVerificationError()
        error.verify_message = "self-signed certificate"
        raise error

    monkeypatch.setattr(WebClient, "_secured", refuses)
    with pytest.raises(ModelLoadError, match="certificate is refused: self-signed certificate; SSL_CERT_FILE names"):
        client.get(f"https://127.0.0.1:{breaking}/m")
