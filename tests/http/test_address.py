import os
import socket
from pathlib import Path

import pytest

from kfunc.errors import StartupError
from kfunc.http.address import MAX_PATH, connect_unix, listen, parse_address

ADDRESSES = {
    "127.0.0.1:80": ("127.0.0.1", 80, "", -1),
    "localhost:0": ("localhost", 0, "", -1),
    "[::1]:8080": ("::1", 8080, "", -1),
    "unix:/tmp/s": ("", -1, "/tmp/s", -1),
    "unix:@kfunc/handler": ("", -1, "\0kfunc/handler", -1),
    "fd:7": ("", -1, "", 7),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_read(text: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.path, address.fd) == ADDRESSES[text]
    assert str(address) == text.replace("[", "").replace("]", "")


NO_ADDRESSES = [
    "",
    "80",
    ":80",
    "a:",
    "a:b",
    "a:-1",
    "a:65536",
    "a:٣",
    "unix:",
    "unix:@",
    "unix:s",
    "fd:x:",
    "unix:/" + "x" * MAX_PATH,
]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(StartupError):
        parse_address(text)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_client_reaches_who_listens_on_a_unix_socket_and_nobody_afterwards(tmp_path: Path, kind: str) -> None:
    address = parse_address(f"unix:{tmp_path}/s" if kind == "path" else f"unix:@kfunc-test-{os.getpid()}")
    with listen(address) as listener, connect_unix(address.path) as client, listener.accept()[0] as server:
        client.send(b"hello")
        assert server.recv(9) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        connect_unix(address.path)


def test_a_path_is_taken_over_from_a_process_that_died(tmp_path: Path) -> None:
    address = parse_address(f"unix:{tmp_path}/s")
    listen(address).close()
    with listen(address), connect_unix(address.path):
        pass


def test_a_port_in_use_says_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StartupError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use; give another"):
            listen(parse_address(f"127.0.0.1:{other.getsockname()[1]}"))
        with pytest.raises(StartupError, match="give another --manage"):
            listen(parse_address(f"127.0.0.1:{other.getsockname()[1]}"), "--manage")
