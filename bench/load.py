"""Load and single requests: `wrk` for rates and latencies, a counting client where every request matters."""

import http.client
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.processes import BenchError

SCRIPT = Path(__file__).with_name("infer.lua")
PATH = "/v2/models/iris/infer"
REPORT = "report: "
ASK_AGAIN_S = 0.003
JSON = {"Content-Type": "application/json"}


class Post(msgspec.Struct, frozen=True):
    """An infer request; `json_length` is the length of the JSON in front of binary tensors, 0 when there are none."""

    body: bytes
    json_length: int = 0

    @property
    def fields(self) -> dict[str, str]:
        """Its header fields."""
        if not self.json_length:
            return JSON
        return {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(self.json_length)}


class Load(msgspec.Struct):
    """What one run of wrk saw; latencies in µs. `broken` are connections that failed."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    not_ok: int
    broken: int
    timeouts: int

    @property
    def rps(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def wrk(port: int, post: Post, connections: int, seconds: float, *, vary: bool = False) -> Load:
    """Send the request for that long over that many connections. Raises BenchError for any failed request.

    `vary`: each request has an x-request-id of its own, so that no server gains from heads that repeat.
    """
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    # The benchmark itself runs on LOAD_CORE, and its children with it.
    amount = ("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s")
    with tempfile.NamedTemporaryFile() as body:  # an environment variable holds 128 KiB at most
        body.write(post.body)
        body.flush()
        done = subprocess.run(
            ["wrk", *amount, "-s", str(SCRIPT), f"http://127.0.0.1:{port}{PATH}"],
            env={
                **os.environ,
                "BENCH_BODY": body.name,
                "BENCH_FIELDS": "".join(f"{name}\t{value}\n" for name, value in post.fields.items()),
                **({"BENCH_VARY": "1"} if vary else {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    line = next((line for line in done.stdout.splitlines() if line.startswith(REPORT)), None)
    if line is None:
        raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
    load = msgspec.json.decode(line.removeprefix(REPORT), type=Load)
    if load.not_ok or load.broken or load.timeouts or not load.requests:
        raise BenchError(f"port {port}, {connections} connections: {load}")
    return load


def answer(
    port: int, method: str, path: str, body: bytes | None = None, fields: Mapping[str, str] = JSON
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own; status, header fields in lower case, body. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(fields) if body else {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def answers(
    port: int, method: str = "GET", path: str = "/v2/health/ready", body: bytes | None = None, fields: Mapping[str, str] = JSON
) -> bool:
    """Whether that request is a 200 now."""
    try:
        return answer(port, method, path, body, fields)[0] == 200
    except OSError:
        return False


def post_exactly(port: int, body: bytes, count: int, connections: int = 16) -> None:
    """Send exactly `count` requests, each answered before the connection's next. Raises BenchError unless all are 200."""
    request = infer_request(body)
    left, done = count, 0
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(min(connections, count)):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client, selectors.EVENT_READ, (client, bytearray()))
            client.sendall(request)
            left -= 1
        while done < count:
            ready = selector.select(10)
            if not ready:
                raise BenchError(f"port {port}: no answer for 10 s after {done} of {count} requests")
            for key, _ in ready:
                client, received = key.data
                if _answered(client, received):
                    done += 1
                    if left:
                        client.sendall(request)
                        left -= 1


def _answered(client: socket.socket, received: bytearray) -> bool:
    """Read once; whether the answer in `received` is complete, which empties it."""
    data = client.recv(65536)
    if not data:
        raise BenchError("the server closed a connection under load")
    received += data
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"answered {bytes(received[:200])!r}")
    lower = bytes(head).lower()
    length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
    if len(body) < length:
        return False
    received.clear()
    return True


def infer_request(body: bytes, fields: str = "") -> bytes:
    """The infer request as bytes, with more header lines if there are any."""
    lines = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{fields}"
    return f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body


def first_answer(port: int, request: bytes, seconds: float = 30.0) -> float:
    """Send the request until it is a 200; the time (perf_counter) of that answer.

    Each question that comes too early takes time from the process that starts, at its worst moment:
    one in ASK_AGAIN_S costs it about as much as that adds to the figure.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                while time.monotonic() < deadline:
                    client.sendall(request)
                    answer = client.recv(65536)
                    if answer.startswith(b"HTTP/1.1 200"):
                        return time.perf_counter()
                    if not answer or b"connection: close" in answer.lower():
                        break
                    time.sleep(ASK_AGAIN_S)
        except OSError:
            pass
        time.sleep(0.0005)
    raise BenchError(f"port {port}: no 200 within {seconds:.0f} s")


def first_connect(port: int, seconds: float = 30.0) -> float:
    """Connect until it succeeds; the time (perf_counter) of that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return time.perf_counter()
        except OSError:
            time.sleep(0.0005)
    raise BenchError(f"port {port}: nothing listens after {seconds:.0f} s")
