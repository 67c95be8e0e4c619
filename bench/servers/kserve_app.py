"""The same models behind KServe's Python server, tuned (bench/README.md says how and why).

Runs in `.venv-bench-kserve`, made by `make bench`: `KFUNC_BENCH_MODEL=MODEL python bench/servers/kserve_app.py --http_port N
--enable_grpc false --enable_latency_logging false --configure_logging false`; kserve reads its options when it is imported.
"""

import asyncio
import os
from typing import Any

import onnxruntime as ort
import uvicorn
import uvloop
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.protocol.rest import server

DATATYPES = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}


class OnnxModel(Model):  # type: ignore[misc]
    """`predict` is a plain function: kserve calls it on the loop, without a thread."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs = [(output.name, DATATYPES[output.type]) for output in self.session.get_outputs()]
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:
        """All outputs; kserve encodes them."""
        results = self.session.run(None, {each.name: each.as_numpy() for each in payload.inputs})
        outputs = [
            InferOutput(name, list(result.shape), datatype, data=result)
            for (name, datatype), result in zip(self.outputs, results, strict=True)
        ]
        if payload.from_grpc:  # kserve does not get from arrays to raw contents by itself
            outputs = [
                InferOutput(name, list(result.shape), kind) for (name, kind), result in zip(self.outputs, results, strict=True)
            ]
            for output, result in zip(outputs, results, strict=True):
                output.set_data_from_numpy(result, binary_data=True)
        return InferResponse(payload.id or "1", self.name, outputs, use_binary_outputs=payload.use_binary_outputs)


class Config(uvicorn.Config):
    """kserve fixes the address and leaves the access log on; uvicorn has settings for both."""

    def __init__(self, app: Any, **settings: Any) -> None:
        super().__init__(app, **{**settings, "host": "127.0.0.1", "access_log": False, "http": "httptools"})


if __name__ == "__main__":
    server.uvicorn.Config = Config
    # kserve starts its server in asyncio.run, so that its own option --event-loop has no effect.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.set_event_loop(asyncio.new_event_loop())  # kserve asks for the current one, which uvloop does not make
    ModelServer().start([OnnxModel("iris", os.environ["KFUNC_BENCH_MODEL"])])
