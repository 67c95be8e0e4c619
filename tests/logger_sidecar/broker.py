"""A local HTTP broker that follows Knative's delivery rules, with faults that can be switched on.

In a test: `async with Broker() as broker`, then `broker.url`, `broker.events`, `broker.fault = Fault("503", every=3)`.
As a process: `python -m tests.logger_sidecar.broker --port 9000 --ledger ids.txt`; `POST /control` with `{"kind": "hang"}`
switches a fault on, `{}` off, and `GET /ledger` counts what has been taken.
"""

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from typing import Any, NamedTuple, TextIO

BINARY, STRUCTURED, BATCHED = "binary", "structured", "batched"


class Fault(NamedTuple):
    """What goes wrong: a status ("503"), "429" with Retry-After, "hang", "reset", "garbage", "slow" or "close".

    It hits each `every`-th request; with `times` > 0 only so many.
    """

    kind: str
    every: int = 1
    times: int = 0
    retry_after: str = ""
    slow_s: float = 0.05


class Broker:
    """Takes events in all three content modes and keeps them in the order of their arrival."""

    def __init__(self, *, takes_batches: bool = True, ledger: TextIO | None = None, keep: bool = True) -> None:
        self.takes_batches = takes_batches
        self.fault: Fault | None = None
        self.poison = b""
        self.events: list[dict[str, Any]] = []
        self.ids: set[tuple[str, str]] = set()
        self.order: list[str] = []
        self.duplicates = 0
        self.requests = 0
        self.connections = 0
        self.modes: set[str] = set()
        self.heads: list[dict[str, str]] = []
        self._keep = keep
        self._ledger = ledger
        self._hits = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/default/broker"

    async def __aenter__(self) -> "Broker":
        await self.start(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=64 * 1024 * 1024)

    async def stop(self) -> None:
        """An outage: no connection is accepted, none is kept."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    # ---- requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line, fields, body = await _read(reader)
                if line.startswith(("GET", "POST /control")):
                    writer.write(_answer("200 OK", self._control(line, body)))
                elif not await self._take(fields, body, writer):
                    break
        self._writers.discard(writer)
        writer.close()

    async def _take(self, fields: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one POST of events; false to end the connection."""
        self.requests += 1
        self.heads.append(fields) if self._keep else None
        fault = self._due()
        if self.poison and self.poison in body:
            writer.write(_answer("400 Bad Request"))
        elif fault is None or fault.kind == "slow":
            if fault is not None:
                await asyncio.sleep(fault.slow_s)
            writer.write(_answer(self._accept(fields, body)))
        elif fault.kind == "hang":
            await asyncio.sleep(3600)
        elif fault.kind in ("reset", "garbage"):
            writer.write(b"\x16\x03\x01 no HTTP\r\n\r\n") if fault.kind == "garbage" else writer.transport.abort()
            return False
        elif fault.kind == "close":  # taken, and the answer is lost
            self._accept(fields, body)
            return False
        else:
            after = f"retry-after: {fault.retry_after}\r\n" if fault.retry_after else ""
            writer.write(_answer(f"{fault.kind} Fault", head=after))
        return True

    def _due(self) -> Fault | None:
        fault = self.fault
        if fault is None or self.requests % fault.every:
            return None
        self._hits += 1
        if fault.times and self._hits >= fault.times:
            self.fault, self._hits = None, 0
        return fault

    def _accept(self, fields: dict[str, str], body: bytes) -> str:
        """The status for events in one request, all of which are taken or none."""
        content_type = fields.get("content-type", "").partition(";")[0]
        if "ce-specversion" in fields:
            mode, events = BINARY, [_from_fields(fields, body)]
        elif content_type == "application/cloudevents+json":
            mode, events = STRUCTURED, [json.loads(body)]
        elif content_type == "application/cloudevents-batch+json" and self.takes_batches:
            mode, events = BATCHED, json.loads(body)
        else:
            return "415 Unsupported Media Type"
        if not all(event.get("specversion") == "1.0" and event.get("id") and event.get("source") for event in events):
            return "400 Bad Request"
        self.modes.add(mode)
        for event in events:
            self._keep_event(event)
        return "202 Accepted"

    def _keep_event(self, event: dict[str, Any]) -> None:
        key = (event["source"], event["id"] + event["type"])
        if key in self.ids:
            self.duplicates += 1
            return
        self.ids.add(key)
        if self._keep:
            self.order.append(event["id"])
            self.events.append(event)
        if self._ledger is not None:
            self._ledger.write(f"{event['id']} {event['type'].rpartition('.')[2]} {event.get('correlationid', '')}\n")

    def _control(self, line: str, body: bytes) -> bytes:
        if line.startswith("POST"):
            wanted = json.loads(body or b"{}")
            self.fault, self._hits = (Fault(**wanted) if wanted else None), 0
        if self._ledger is not None:
            self._ledger.flush()
        counts = {"events": len(self.ids), "duplicates": self.duplicates, "requests": self.requests}
        return json.dumps(counts).encode()


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines if field)}
    return line, fields, await reader.readexactly(int(fields.get("content-length", 0)))


def _answer(status: str, body: bytes = b"", head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _from_fields(fields: dict[str, str], body: bytes) -> dict[str, Any]:
    from urllib.parse import unquote

    event: dict[str, Any] = {name[3:]: unquote(value) for name, value in fields.items() if name.startswith("ce-")}
    event["datacontenttype"] = fields.get("content-type", "")
    return {**event, "data_bytes": body}


async def _main(port: int, ledger: TextIO | None) -> None:
    broker = Broker(ledger=ledger, keep=False)
    await broker.start(port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=argparse.FileType("a"), default=None)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.port, arguments.ledger))
