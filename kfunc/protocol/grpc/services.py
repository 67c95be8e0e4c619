"""The methods that are served, with the messages that are not tensors'."""

from kfunc.protocol.grpc.schema import BOOL, BYTES, INT, Schema, many, one

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SERVICES = (INFERENCE, HEALTH, *REFLECTION)

MODEL: Schema = {"name": one(1), "version": one(2)}
LIVE: Schema = {"live": one(1, BOOL)}
READY: Schema = {"ready": one(1, BOOL)}
SERVER_METADATA: Schema = {"name": one(1), "version": one(2), "extensions": many(3)}
TENSOR_METADATA: Schema = {"name": one(1), "datatype": one(2), "shape": many(3, INT)}
MODEL_METADATA: Schema = {
    "name": one(1),
    "versions": many(2),
    "platform": one(3),
    "inputs": many(4, TENSOR_METADATA),
    "outputs": many(5, TENSOR_METADATA),
}
INDEX_REQUEST: Schema = {"repository_name": one(1), "ready": one(2, BOOL)}
MODEL_INDEX: Schema = {"name": one(1), "version": one(2), "state": one(3), "reason": one(4)}
INDEX: Schema = {"models": many(1, MODEL_INDEX)}
# KServe's clients name the model in field 1, Triton's in field 2, and leave 1 empty.
CHANGE_REQUEST: Schema = {"model_name": one(1), "model_in_repository": one(2), "parameters": many(3, {"key": one(1)})}
LOADED: Schema = {"model_name": one(1), "isLoaded": one(2, BOOL)}
UNLOADED: Schema = {"model_name": one(1), "isUnloaded": one(2, BOOL)}
STREAM_ANSWER: Schema = {"error_message": one(1), "infer_response": one(2, BYTES)}

HEALTH_REQUEST: Schema = {"service": one(1)}
HEALTH_ANSWER: Schema = {"status": one(1, INT)}
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
