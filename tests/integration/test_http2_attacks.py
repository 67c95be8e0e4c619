"""Attacks on a real handler: sent away with the right code, in little memory, while others are served as before."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import ENHANCE_YOUR_CALM, NO_ERROR, SETTINGS_TIMEOUT
from kfunc.http.h2.settings import EARLY_STREAMS, EARLY_WINDOW, OUR_STREAMS, OUR_WINDOW
from tests.handlers.conftest import ROOT, configuration
from tests.handlers.test_main import handler, wait_until_ready
from tests.http.h2.test_attacks import SENT_AWAY, numbers
from tests.http.h2.wires import begin, data, get, head
from tests.integration.test_run import V2, children

MOST = 16 * 1024 * 1024
SLOWEST_S = 2.0
TIMEOUT_S = "2"  # of bodies and of answers that nobody takes
PATIENCE_S = 30
BODY = json.dumps(V2)
GREETING = frames.PREFACE + frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0)
AGAINST_THE_CORE = {"rapid reset, answered never", "streams too many"}  # this application answers

pytestmark = pytest.mark.integration


class Victim:
    """A handler as a process."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    @property
    def resident(self) -> int:
        """Bytes in memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    config = configuration(uri=str(ROOT / "examples/iris/model.onnx"), name="iris", runtime="onnx")
    with handler(config, KFUNC_LIMITS_BODY_TIMEOUT_S=TIMEOUT_S) as (process, port):
        wait_until_ready(port)
        (child,) = children(process.pid)
        made = Victim(child, port)
        for _ in range(3):  # what is loaded and kept once
            attack(made.port, SENT_AWAY["rapid reset, answered at once"][0]())
        yield made
        process.terminate()
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")


class Bystander(threading.Thread):
    """Another client; its answers, how long they took, and the most memory of the victim meanwhile."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self._victim = victim
        self._over = threading.Event()
        self.took: list[float] = []
        self.statuses: set[int] = set()
        self.most = 0

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._victim.port, timeout=PATIENCE_S)
        while not self._over.is_set():
            began = time.perf_counter()
            connection.request("POST", "/v2/models/iris/infer", BODY)
            response = connection.getresponse()
            response.read()
            self.took.append(time.perf_counter() - began)
            self.statuses.add(response.status)
            self.most = max(self.most, self._victim.resident)
            time.sleep(0.002)
        connection.close()

    def __enter__(self) -> "Bystander":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def attack(port: int, parts: Iterable[bytes], start: bytes = GREETING) -> int | None:
    """Send until the server has enough; the code of its GOAWAY."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        codes: list[int] = []
        reading = threading.Thread(target=read_codes, args=(client, codes))
        reading.start()
        with suppress(OSError):
            client.sendall(start)
            for part in parts:
                if codes:
                    break
                client.sendall(part)
        reading.join(PATIENCE_S)
        return codes[0] if codes else None


def read_codes(client: socket.socket, codes: list[int]) -> None:
    reader = frames.FrameReader(1 << 24)
    with suppress(OSError):
        while received := client.recv(65_536):
            codes += [frames.code_of(payload, 4) for kind, _, _, payload in reader.read(received) if kind == frames.GOAWAY]


def unharmed(victim: Victim, attacked: Callable[[], int | None]) -> int | None:
    """Attack beside another client; the code that the attacker got."""
    before = victim.resident
    with Bystander(victim) as bystander:
        code = attacked()
    assert bystander.statuses == {200}
    assert max(bystander.took) < SLOWEST_S
    assert bystander.most - before <= MOST
    return code


@pytest.mark.parametrize("name", sorted(SENT_AWAY.keys() - AGAINST_THE_CORE))
def test_a_flood_is_ended_with_its_code(victim: Victim, name: str) -> None:
    assert unharmed(victim, lambda: attack(victim.port, SENT_AWAY[name][0]())) == ENHANCE_YOUR_CALM


def test_a_header_bomb_is_refused(victim: Victim) -> None:
    """100 streams, each with a field of 4 KB from the table 3,000 times."""

    def bomb() -> Iterator[bytes]:
        enters = b"\x40\x01a\x7f\xbd\x1d" + b"x" * 3900
        yield frames.frame(frames.HEADERS, 5, 1, head() + enters)
        for number in numbers(OUR_STREAMS):
            yield frames.frame(frames.HEADERS, 5, number + 2, head() + b"\xbe" * 3000)
        yield frames.goaway(0, NO_ERROR)

    assert unharmed(victim, lambda: attack(victim.port, bomb())) == NO_ERROR


def test_windows_that_never_open_are_given_up(victim: Victim) -> None:
    def ask() -> Iterator[bytes]:
        for number in numbers(OUR_STREAMS):
            yield get(number, b"/openapi.json")
        time.sleep(2 * float(TIMEOUT_S))
        yield frames.goaway(0, NO_ERROR)

    start = GREETING + frames.settings({4: 0})
    assert unharmed(victim, lambda: attack(victim.port, ask(), start)) == NO_ERROR


def test_half_open_streams_are_given_up(victim: Victim) -> None:
    def hold() -> Iterator[bytes]:
        for number in numbers(OUR_STREAMS):
            yield begin(number, b"/v2/models/iris/infer")
            yield from [data(number, bytes(16_384))] * (OUR_WINDOW // 16_384)
        time.sleep(2 * float(TIMEOUT_S) + 1)
        yield frames.goaway(0, NO_ERROR)

    assert unharmed(victim, lambda: attack(victim.port, hold())) == NO_ERROR


def test_half_open_streams_of_a_client_that_does_not_take_our_settings_end_with_them(victim: Victim) -> None:
    def hold() -> Iterator[bytes]:
        for number in numbers(EARLY_STREAMS):
            yield begin(number, b"/v2/models/iris/infer")
            early = number > 2 * OUR_STREAMS
            yield from [data(number, bytes(4096))] * (EARLY_WINDOW // 4096 if early else OUR_WINDOW // 4096)

    start = GREETING.removesuffix(frames.frame(frames.SETTINGS, frames.ACK, 0))
    assert unharmed(victim, lambda: attack(victim.port, hold(), start)) == SETTINGS_TIMEOUT


def test_many_connections_that_only_begin_take_little(victim: Victim) -> None:
    def begin_many() -> None:
        clients = [socket.create_connection(("127.0.0.1", victim.port)) for _ in range(300)]
        for client in clients:
            client.sendall(frames.PREFACE[:10])
        time.sleep(0.5)
        for client in clients:
            client.close()

    unharmed(victim, begin_many)
