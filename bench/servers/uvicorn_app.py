"""The same models behind a bare ASGI app on uvicorn, uvloop, httptools and orjson: the floor of the ASGI servers.

It reads V2 as JSON or with binary inputs, and answers binary when `binary_data_output` asks for it; it checks nothing.
`python -m bench.servers.uvicorn_app HOST:PORT MODEL`
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson
import uvicorn

DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype(np.float32), "INT64": np.dtype(np.int64)}
DATATYPES = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}
LENGTH = b"inference-header-content-length"

Message = dict[str, Any]


class App:
    """One model; an ASGI application."""

    def __init__(self, model: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.run = session.run
        self.names = [output.name for output in session.get_outputs()]
        self.datatypes = [DATATYPES[output.type] for output in session.get_outputs()]
        self.options = ort.RunOptions()

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Every request is an infer request."""
        message = await receive()
        body = message["body"]
        if message["more_body"]:
            parts = [body]
            while message["more_body"]:
                message = await receive()
                parts.append(message["body"])
            body = b"".join(parts)
        headers, answer = self.infer(dict(scope["headers"]), body)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def infer(self, fields: dict[bytes, bytes], body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Header fields and body of the answer."""
        at = int(fields.get(LENGTH, b"0")) or len(body)
        request = orjson.loads(body[:at])
        feeds = {}
        for tensor in request["inputs"]:
            dtype, shape = DTYPES[tensor["datatype"]], tensor["shape"]
            if "data" in tensor:
                feeds[tensor["name"]] = np.array(tensor["data"], dtype).reshape(shape)
            else:
                size = tensor["parameters"]["binary_data_size"]
                feeds[tensor["name"]] = np.frombuffer(body, dtype, size // dtype.itemsize, at).reshape(shape)
                at += size
        results = self.run(self.names, feeds, self.options)
        binary = bool(request.get("parameters", {}).get("binary_data_output"))
        return self.answer(results, binary)

    def answer(self, results: list[Any], binary: bool) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """All outputs as JSON, or all behind it."""
        outputs = []
        for name, datatype, result in zip(self.names, self.datatypes, results, strict=True):
            content = {"parameters": {"binary_data_size": result.nbytes}} if binary else {"data": result.ravel().tolist()}
            outputs.append({"name": name, "datatype": datatype, "shape": result.shape, **content})
        answer = orjson.dumps({"model_name": "iris", "model_version": "1", "outputs": outputs})
        if not binary:
            return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))], answer
        body = b"".join([answer, *(result.tobytes() for result in results)])
        kind = (b"content-type", b"application/octet-stream")
        return [kind, (LENGTH, b"%d" % len(answer)), (b"content-length", b"%d" % len(body))], body


if __name__ == "__main__":
    address, model = sys.argv[1:]
    host, _, port = address.rpartition(":")
    uvicorn.run(
        App(model),
        host=host,
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
