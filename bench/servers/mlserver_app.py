"""The same models behind MLServer, tuned (bench/README.md says how and why).

Runs in `.venv-bench-mlserver`, made by `make bench`: `KFUNC_BENCH_MODEL=MODEL python bench/servers/mlserver_app.py PORT`
"""

import asyncio
import os
import socket
import sys
import tempfile
import time
from typing import Any

import numpy as np
import onnxruntime as ort
import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

ONE = asyncio.Semaphore(1)
DTYPES = {"FP32": np.float32, "INT64": np.int64}
DATATYPES = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}


class OnnxModel(MLModel):  # type: ignore[misc]
    """Arrays are made by hand: mlserver's own codecs take longer."""

    async def load(self) -> bool:
        """One thread, as all servers here have."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = os.environ["KFUNC_BENCH_MODEL"]
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [(output.name, DATATYPES[output.type]) for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """All outputs, as lists."""
        feeds = {each.name: np.array(each.data.root, DTYPES[each.datatype]).reshape(each.shape) for each in payload.inputs}
        results: list[Any] = self.session.run(None, feeds)
        outputs = [
            ResponseOutput(name=name, datatype=datatype, shape=list(result.shape), data=result.ravel().tolist())
            for (name, datatype), result in zip(self.names, results, strict=True)
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class SlowModel(MLModel):  # type: ignore[misc]
    """Takes the time that a call and its rows cost, and answers each row with its first value."""

    async def load(self) -> bool:
        """Nothing to read."""
        self.call_s, self.row_s, _ = map(float, os.environ["KFUNC_BENCH_SLOW"].split(","))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One call at a time, in a thread, as a runtime's would be."""
        (tensor,) = payload.inputs
        async with ONE:
            await asyncio.to_thread(time.sleep, self.call_s + self.row_s * tensor.shape[0])
        values = np.array(tensor.data.root, np.float32).reshape(tensor.shape)[:, 0].tolist()
        label = ResponseOutput(name="label", datatype="FP32", shape=[len(values)], data=values)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[label])


def slow_settings() -> ModelSettings:
    """MLServer's adaptive batching: as many rows as there are connections, 5 ms."""
    size = int(os.environ["KFUNC_BENCH_SLOW"].split(",")[2])
    tensors = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}], "outputs": []}
    return ModelSettings(
        name="iris", implementation=SlowModel, max_batch_size=size, max_batch_time=0.005, parameters={"version": "1"}, **tensors
    )


async def serve(port: int, folder: str) -> None:
    """Serve until SIGTERM. MLServer always has a gRPC server: it gets a free port and no calls."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        unused = probe.getsockname()[1]
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=unused,
        parallel_workers=0,
        debug=False,
        gzip_enabled=False,
        metrics_endpoint=None,
        environments_dir=folder,
    )
    if "KFUNC_BENCH_SLOW" in os.environ:
        model = slow_settings()
    else:
        model = ModelSettings(name="iris", implementation=OnnxModel, parameters={"version": "1"})
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(int(sys.argv[1]), folder))
