"""A server of V1 and V2 that answers each row with itself, and has faults: `python -m …soak.upstream PORT SEED`.

A call with a row of POISON is 400. Others break off, or are answered late or with an error, by chance.
"""

import asyncio
import json
import random
import sys
from array import array
from typing import Any

import uvloop

from kfunc.protocol.v2_binary import join_bytes, split_bytes

POISON = 999_999
METADATA = {
    **{"name": "m", "versions": ["1"], "platform": "soak"},
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, -1]}, {"name": "classes", "datatype": "INT64", "shape": [3]}],
}
CODES = {"FP32": "f", "INT64": "q", "INT32": "i"}
LENGTH = b"inference-header-content-length"
CLASSES = {"name": "classes", "datatype": "INT64", "shape": [3], "data": [1, 2, 3]}
FAULTS = ((0.003, "close"), (0.003, "error"), (0.003, "busy"), (0.02, "late"), (0.002, "half"))


class Server(asyncio.Protocol):
    """One connection; requests come whole, one after the other."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._data = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        line, *fields = self._data[:end].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        if len(self._data) - end - 4 < int(headers.get(b"content-length", 0)):
            return
        body, self._data = self._data[end + 4 :], b""
        if line.startswith(b"GET"):
            self._send(200, json.dumps(METADATA).encode())
            return
        fault = self._fault()
        if fault == "close":
            self._transport.close()
        elif fault in ("error", "busy"):
            self._send(500 if fault == "error" else 503, b'{"error": "by chance"}')
        elif fault == "late":
            asyncio.get_running_loop().call_later(self._chance.random() * 0.03, self._answer, headers, body)
        else:
            self._answer(headers, body, half=fault == "half")

    def _fault(self) -> str:
        drawn = self._chance.random()
        for share, name in FAULTS:
            if drawn < share:
                return name
            drawn -= share
        return ""

    def _answer(self, headers: dict[bytes, bytes], body: bytes, half: bool = False) -> None:
        length = int(headers.get(LENGTH, len(body)))
        if b"%d" % POISON in body[:length] or POISON.to_bytes(4, "little") in body[length:]:
            self._send(400, b'{"error": "poison"}')
            return
        document = json.loads(body[:length])
        if "instances" in document:
            self._send(200, json.dumps({"predictions": document["instances"], "extra": 7}).encode(), half=half)
            return
        output, raw = _echo(document, body[length:])
        own = {"id": document["id"]} if "id" in document else {}
        head = json.dumps({"model_name": "m", **own, "outputs": [output, CLASSES]}).encode()
        more = b"" if raw is None else b"%b: %d\r\n" % (LENGTH, len(head))
        self._send(200, head + (raw or b""), more, half=half)

    def _send(self, status: int, body: bytes, more: bytes = b"", *, half: bool = False) -> None:
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (status, more, len(body))
        data = head + body
        if half:
            self._transport.write(data[: len(data) // 2])
            self._transport.close()
        else:
            self._transport.write(data)


def _echo(document: dict[str, Any], tail: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The input as an output, in the form that is asked for, with its bytes if that is binary."""
    (tensor,) = document["inputs"]
    datatype, values = tensor["datatype"], tensor.get("data")
    output = {"name": "y", "datatype": datatype, "shape": tensor["shape"]}
    if document.get("parameters", {}).get("binary_data_output"):
        if values is None:
            raw = tail
        elif datatype == "BYTES":
            raw = join_bytes([value.encode() for value in values])
        else:
            raw = array(CODES[datatype], values).tobytes()
        return {**output, "parameters": {"binary_data_size": len(raw)}}, raw
    if values is None and datatype == "BYTES":
        count = 1
        for dimension in tensor["shape"]:
            count *= dimension
        values = [value.decode() for value in split_bytes("x", tail, count)]
    elif values is None:
        values = array(CODES[datatype], tail).tolist()
    return {**output, "data": values}, None


async def serve(port: int, seed: int) -> None:
    """Serve until the process ends."""
    chance = random.Random(seed)
    server = await asyncio.get_running_loop().create_server(lambda: Server(chance), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
