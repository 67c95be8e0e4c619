"""What a request's path says: whether it is an inference call, and of which model. Sans-IO."""

from collections.abc import Mapping

V2_CALLS = (b"/infer", b"/infer_stream", b"/explain", b"/generate", b"/generate_stream")
GRPC_CALLS = (b".GRPCInferenceService/ModelInfer", b".GRPCInferenceService/ModelStreamInfer")  # that could not be asked as REST
CALLS = (*V2_CALLS, *GRPC_CALLS, b":predict", b":explain", b"/invocations")
OPENAI = (b"/chat/completions", b"/completions", b"/embeddings", b"/rerank", b"/responses")


def is_call(target: bytes) -> bool:
    """Whether a POST to `target` is an inference call, however a server might read its path."""
    if target.endswith(CALLS):
        return True
    path = b"/" + b"/".join(segments(target))
    return path.endswith(CALLS) or (b"v1/" in path and path.endswith(OPENAI))


def is_event(target: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a POST brings a CloudEvent for the function (HTTP Protocol Binding, 3): a call of its model."""
    if target.partition(b"?")[0].strip(b"/"):
        return False
    return b"ce-specversion" in headers or headers.get(b"content-type", b"").lower().startswith(b"application/cloudevents")


def is_for_own_model(target: bytes) -> bool:
    """Whether a path names no model since it asks the function's own: `/` of events, MLflow's `/invocations`."""
    return segments(target) in ([b""], [b"invocations"])


def segments(target: bytes) -> list[bytes]:
    """The parts of a path, percent-decoded."""
    parts = target.partition(b"?")[0].strip(b"/").split(b"/")
    if b"%" not in target:
        return parts
    from urllib.parse import unquote_to_bytes  # here: few need it, and it costs 2 ms of every start

    return [unquote_to_bytes(part) for part in parts]


def model_of(target: bytes) -> tuple[str, str]:
    """Model and version of v2/models/NAME[/versions/VERSION]/infer and v1/models/NAME[/versions/VERSION]:predict."""
    parts = [part.decode(errors="replace") for part in segments(target)]
    parts[-1] = parts[-1].removesuffix(":predict").removesuffix(":explain")
    name = parts[2] if len(parts) > 2 and parts[1] == "models" else ""
    return name, parts[4] if len(parts) > 4 and parts[3] == "versions" else ""
