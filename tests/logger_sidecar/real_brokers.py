"""What the tests of sinks have in common: events, settings, a delivery that goes on until it is done."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.logger import Logger, SinkSettings, sinks_of
from kfunc.logger_sidecar.contract import Refused, Sink, SinkContext
from kfunc.logger_sidecar.event import CallEvent, EventWriter
from kfunc.logger_sidecar.opened import OpenedSink
from kfunc.logger_sidecar.record import CallRecord, Origin, Payload
from tests.parts.servers import Server

START_US = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z


def calls(count: int, first: int = 0, compat: str = "none", body: bytes = b"") -> list[CallEvent]:
    """The events of so many calls, of the model `iris`; ids and times go up."""
    writer = EventWriter(Origin(run="run", function="iris", namespace="team", model="iris", version="1"), compat)
    events = []
    for number in range(first, first + count):
        request = body or b'{"instances":[[%d]]}' % number
        response = b'{"predictions":[%d]}' % number
        call = CallRecord(
            target=b"/v1/models/iris:predict",
            correlation=b"call-%d" % number,
            traceparent=b"",
            tracestate=b"",
            time_us=START_US + number,
            duration_us=100,
            status=200,
            request=Payload(request, len(request)),
            response=Payload(response, len(response)),
            number=number,
        )
        events += writer.events(call)
    return events


def settings(to: str, **more: Any) -> SinkSettings:
    """A sink's settings as the logger completes them."""
    return sinks_of(Logger(sinks=[SinkSettings(to=to, **more)]))[0]


def context(**environ: str) -> SinkContext:
    return SinkContext(function="iris", namespace="team", environ=environ)


async def deliver_all(sink: Sink, events: list[CallEvent], *, in_order: bool) -> None:
    """Deliver, trying again what the sink does not take, for at most a minute and a half."""
    opened = OpenedSink(sink)
    async with asyncio.timeout(90):
        while events:
            outcomes = await opened.deliver(events, in_order)
            taken = {number for number, outcome in enumerate(outcomes) if outcome is None or isinstance(outcome, Refused)}
            events = [event for number, event in enumerate(events) if number not in taken]
            if not taken:
                await asyncio.sleep(0.1)


async def close(sink: Sink) -> None:
    """Close, and let the library's own tasks end with their loop."""
    await sink.close()
    await asyncio.sleep(0.02)


@contextmanager
def killed_now_and_then(server: Server, times: int) -> Iterator[None]:
    """Meanwhile the server is killed, and started again, at most so many times and once in any case."""
    stop = threading.Event()

    def kill() -> None:
        for number in range(times):
            if stop.wait(0.15) and number:
                return
            server.kill()
            stop.wait(0.3)
            server.start()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody knows, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])],
        check=True,
        capture_output=True,
    )
    return files
