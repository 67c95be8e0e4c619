import os
import socket
import subprocess
import sys

import pytest

from kfunc.cli.listening import holder_of, listen, url
from kfunc.errors import StartupError


def test_port_0_is_any_free_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_ipv6_address_stands_in_brackets() -> None:
    with listen("::1", 0) as listener:
        assert url(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_a_port_is_free_again_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            pass
    listen("127.0.0.1", port).close()


def test_a_port_in_use_is_refused_with_its_holder_and_the_way_out() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartupError, match=rf"port {port} is in use by .+ \(pid {os.getpid()}\); .* --port"):
            listen("127.0.0.1", port)


def test_the_holder_is_another_process() -> None:
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert holder_of(int(process.stdout.readline())).endswith(f"(pid {process.pid})")
        process.communicate("\n")


def test_a_free_port_has_no_holder() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    assert holder_of(port) == ""


@pytest.mark.parametrize("host", ["198.51.100.1", "no such host", "nowhere.invalid"])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(StartupError, match=f"cannot listen on {host}: .* --host"):
        listen(host, 0)
