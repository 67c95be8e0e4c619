"""A model asked as a client would: V1, V2, binary V2, through the handler's application."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kfunc.config.pod import PodConfig
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.protocol.v2_binary import join_bytes
from tests.handlers.conftest import Caller

DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "BOOL": "?"}


class Served:
    """One loaded model under the name `iris`."""

    def __init__(self, config: PodConfig) -> None:
        self.handler = load_handler(config)
        self.model = LoadedModel(config, self.handler)
        self.caller = Caller(self.model)

    def metadata(self) -> Any:
        """What the model says of itself: platform, inputs, outputs."""
        _, told = self.caller.ask("GET", "/v2/models/iris")
        return {
            "platform": told["platform"],
            **{
                part: {each["name"]: (each["datatype"], each["shape"]) for each in told[part]} for part in ("inputs", "outputs")
            },
        }

    def v1(self, document: Any) -> Any:
        """The answer of `:predict`; a list stands for its instances. What fails is (status, answer)."""
        body = {"instances": document} if isinstance(document, list) else document
        status, answer = self.caller.ask("POST", "/v1/models/iris:predict", body)
        return answer.get("predictions", answer.get("outputs")) if status == 200 else (status, answer)

    def v2(self, inputs: dict[str, tuple[str, Any]]) -> Any:
        """Outputs by name, flat, of inputs {name: (datatype, nested lists)}; what fails is (status, answer)."""
        tensors = [
            {
                "name": name,
                "datatype": datatype,
                "shape": list(np.shape(data)),
                "data": np.asarray(data, object).ravel().tolist(),
            }
            for name, (datatype, data) in inputs.items()
        ]
        status, answer = self.caller.infer(*tensors)
        return {each["name"]: each["data"] for each in answer["outputs"]} if status == 200 else (status, answer)

    def binary(self, inputs: dict[str, tuple[str, Any]]) -> Any:
        """The same in binary, both ways: raw bytes by output name."""
        parts = [
            join_bytes(each.encode() for each in np.asarray(data, object).ravel())
            if datatype == "BYTES"
            else np.asarray(data, DTYPES[datatype]).tobytes()
            for datatype, data in inputs.values()
        ]
        tensors = [
            {"name": name, "datatype": datatype, "shape": list(np.shape(data)), "parameters": {"binary_data_size": len(part)}}
            for (name, (datatype, data)), part in zip(inputs.items(), parts, strict=True)
        ]
        head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
        status, _ = self.caller.ask(
            "POST", "/v2/models/iris/infer", head + b"".join(parts), inference_header_content_length=str(len(head))
        )
        body = self.caller.body
        assert status == 200, body
        length = int(self.caller.headers.lower().partition(b"inference-header-content-length: ")[2].split()[0])
        values, begin = {}, length
        for each in json.loads(body[:length])["outputs"]:
            size = each["parameters"]["binary_data_size"]
            values[each["name"]] = body[begin : begin + size]
            begin += size
        return values


def digest(path: Path) -> str:
    """A file's digest, as func.yaml has it."""
    return f"sha256:{sha256(path.read_bytes()).hexdigest()}"
