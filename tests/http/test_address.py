import socket

import pytest

from kfunc.errors import StartupError
from kfunc.http.address import MAX_PATH, listen, parse_address

ADDRESSES = {
    "127.0.0.1:80": ("127.0.0.1", 80, "", -1),
    "localhost:0": ("localhost", 0, "", -1),
    "[::1]:8080": ("::1", 8080, "", -1),
    "unix:/tmp/s": ("", -1, "/tmp/s", -1),
    "fd:7": ("", -1, "", 7),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_read(text: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.path, address.fd) == ADDRESSES[text]


NO_ADDRESSES = ["", "80", ":80", "a:", "a:b", "a:-1", "a:65536", "a:٣", "unix:", "fd:x:", "unix:/" + "x" * MAX_PATH]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(StartupError):
        parse_address(text)


def test_a_port_in_use_says_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StartupError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use; give another"):
            listen(parse_address(f"127.0.0.1:{other.getsockname()[1]}"))
