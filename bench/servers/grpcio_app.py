"""grpcio's sync server with 4 threads: decode with protobuf → onnxruntime → encode. What anybody would write first.

`KFUNC_BENCH_MODEL=MODEL python -m bench.servers.grpcio_app ADDRESS`; its messages are made of our descriptors.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import kfunc.protocol.grpc

DATATYPES = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}
THREADS = 4


def messages() -> tuple[Any, Any]:
    """The classes of ModelInferRequest and ModelInferResponse, as protoc would make them."""
    pool = descriptor_pool.DescriptorPool()
    descriptors = Path(kfunc.protocol.grpc.__file__).with_name("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    names = ("inference.ModelInferRequest", "inference.ModelInferResponse")
    request, response = (message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names)
    return request, response


def serve(address: str, model: str) -> None:
    """Serve until the process is ended."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs = [(output.name, DATATYPES[output.type]) for output in session.get_outputs()]
    request_type, response_type = messages()

    def infer(request: Any, context: Any) -> Any:
        arrays = {
            tensor.name: np.frombuffer(raw, np.float32).reshape(tuple(tensor.shape))
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        response = response_type(model_name=request.model_name, model_version="1", id=request.id)
        for (name, datatype), value in zip(outputs, session.run(None, arrays), strict=True):
            response.outputs.add(name=name, datatype=datatype, shape=value.shape)
            response.raw_output_contents.append(value.tobytes())
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        infer, request_deserializer=request_type.FromString, response_serializer=lambda message: message.SerializeToString()
    )
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", -1)])
    service = "inference.GRPCInferenceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"ModelInfer": handler}),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1], os.environ["KFUNC_BENCH_MODEL"])
