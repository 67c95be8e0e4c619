"""The same model behind Flask, as a user would write it.

`KFUNC_BENCH_MODEL=MODEL gunicorn -k gthread -w 1 --threads 4 bench.servers.flask_app:app`
"""

import os

import numpy as np
import onnxruntime as ort
from flask import Flask, Response, jsonify, request

DATATYPES = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["KFUNC_BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
app = Flask(__name__)


@app.post("/v2/models/iris/infer")
def infer() -> Response:
    """V2 infer, JSON."""
    tensors = request.get_json()["inputs"]
    feeds = {tensor["name"]: np.array(tensor["data"], np.float32).reshape(tensor["shape"]) for tensor in tensors}
    outputs = [
        {
            "name": output.name,
            "datatype": DATATYPES[output.type],
            "shape": list(result.shape),
            "data": result.ravel().tolist(),
        }
        for output, result in zip(session.get_outputs(), session.run(None, feeds), strict=True)
    ]
    return jsonify({"model_name": "iris", "model_version": "1", "outputs": outputs})
