"""How requests get to a registry."""

import base64
import socket
import threading

import pytest

from kfunc.errors import RegistryError
from kfunc.images.transport import Transport, Trust


def test_a_proxy_gets_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                heads.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        for name in ("NO_PROXY", "no_proxy", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s%40fe@127.0.0.1:{proxy.getsockname()[1]}")
        with Transport(Trust(), {}, lambda _: None) as transport, pytest.raises(RegistryError, match="403 Forbidden"):
            transport.retry("GET", "https://registry.example.com/v2/")
    assert heads[0].startswith(b"CONNECT registry.example.com:443 ")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:s@fe") in heads[0]
