"""The ceiling: a bare asyncio.Protocol on uvloop + httptools that decodes, runs the model and encodes.

No routing, limits, timeouts, validation, metrics or errors: what it lacks is what kfunc adds.
`python -m bench.servers.ceiling HOST:PORT MODEL`
"""

import asyncio
import signal
import sys

import httptools
import numpy as np
import onnxruntime as ort
import orjson
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
# Made once: onnxruntime makes one for every call that brings none.
OPTIONS = ort.RunOptions()
DATATYPES = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}


class Ceiling(asyncio.Protocol):
    """One connection; the session is shared by all."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.run = session.run
        self.names = [output.name for output in session.get_outputs()]
        self.datatypes = [DATATYPES[output.type] for output in session.get_outputs()]
        self.body = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep what every answer needs."""
        self.write = transport.write
        self.feed = httptools.HttpRequestParser(self).feed_data

    def data_received(self, data: bytes) -> None:
        """Parse; httptools calls `on_body` and `on_message_complete`."""
        self.feed(data)

    def on_body(self, body: bytes) -> None:
        """Collect the body: one piece for a small request."""
        self.body += body

    def on_message_complete(self) -> None:
        """Decode → onnxruntime → encode → write."""
        request = orjson.loads(self.body)
        self.body = b""
        feeds = {}
        for tensor in request["inputs"]:
            feeds[tensor["name"]] = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        results = self.run(self.names, feeds, OPTIONS)
        outputs = [
            {"name": name, "datatype": datatype, "shape": result.shape, "data": result.ravel().tolist()}
            for name, datatype, result in zip(self.names, self.datatypes, results, strict=True)
        ]
        answer = orjson.dumps({"model_name": "iris", "model_version": "1", "outputs": outputs})
        self.write(HEAD % len(answer) + answer)


async def serve(address: str, model: str) -> None:
    """Serve until SIGTERM."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    host, _, port = address.rpartition(":")
    await loop.create_server(lambda: Ceiling(session), host, int(port))
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
