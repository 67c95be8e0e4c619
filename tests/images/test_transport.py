"""How requests get to a registry."""

import base64
import socket
import ssl
import threading

import pytest

from kfunc.errors import RegistryError
from kfunc.images.transport import Transport, Trust, may_pass, proxy_for


def test_a_proxy_gets_its_own_credentials() -> None:
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                heads.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        environ = {"HTTPS_PROXY": f"http://me:s%40fe@127.0.0.1:{proxy.getsockname()[1]}"}
        with Transport(Trust(), environ, lambda _: None) as transport, pytest.raises(RegistryError, match="403 Forbidden"):
            transport.retry("GET", "https://registry.example.com/v2/")
    assert heads[0].startswith(b"CONNECT registry.example.com:443 ")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:s@fe") in heads[0]


def test_a_document_that_is_cut_off_is_asked_for_again() -> None:
    document = b'{"schemaVersion": 2}'
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for size in (5, len(document)):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(document)
                    connection.sendall(head + document[:size])

        threading.Thread(target=answer, daemon=True).start()
        with Transport(Trust(), {}, lambda _: None) as transport:
            assert transport.retry("GET", f"http://127.0.0.1:{server.getsockname()[1]}/v2/").body == document


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True),
        (OSError(113, "No route to host"), True),
        (ssl.SSLEOFError(), True),
        (OSError("Tunnel connection failed: 403 Forbidden"), False),
        (ssl.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), False),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


@pytest.mark.parametrize(
    ("environ", "host", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p"}, "example.com", "http://p"),
        ({"https_proxy": "http://small", "HTTPS_PROXY": "http://p"}, "example.com", "http://small"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://p"}, "example.com", ""),
        ({"HTTP_PROXY": "http://p"}, "example.com", ""),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "other.com, example.com"}, "r.example.com:5000", ""),
        ({"HTTPS_PROXY": "http://p", "no_proxy": ".Example.com:5000"}, "r.example.com:5000", ""),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "example.com:5000"}, "example.com", "http://p"),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "ample.com,"}, "example.com", "http://p"),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "*"}, "example.com", ""),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "[::2]"}, "[::2]:5000", ""),
        ({}, "example.com", ""),
    ],
)
def test_the_proxy_is_that_of_the_environment_that_was_given(environ: dict[str, str], host: str, proxy: str) -> None:
    assert proxy_for("https", host, environ) == proxy
