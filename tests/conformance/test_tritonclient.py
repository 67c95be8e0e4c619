"""Triton's HTTP client for Python (`tritonclient.http`) against a function: every call that it has."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.conformance.serving import Served
from tests.conformance.tensors import ARRAYS, AS_JSON, Array, model_for

pytestmark = pytest.mark.integration

FLOWER = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(served.address, concurrency=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def manager(served: Served) -> Iterator[InferenceServerClient]:
    """The same client, connected to the management port."""
    with InferenceServerClient(served.management) as opened:
        yield opened


def tensor(array: Array, datatype: str, *, binary: bool = True, name: str = "x") -> InferInput:
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def asked(name: str = "x", *, binary: bool = True, **more: Any) -> list[InferRequestedOutput]:
    return [InferRequestedOutput(name, binary_data=binary, **more)]


def same(answered: Array | None, sent: Array) -> bool:
    return answered is not None and answered.shape == sent.shape and answered.tolist() == sent.tolist()


# ---- the server and its models


def test_the_server_is_live_and_ready(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [
        ("echo", "", True),
        ("echo", "1", True),
        ("echo", "2", True),
        ("iris", "1", True),
        ("echo", "3", False),
        ("rose", "", False),
    ],
)
def test_a_model_or_version_is_ready_or_not(client: InferenceServerClient, model: str, version: str, expected: bool) -> None:
    assert client.is_model_ready(model, version) == expected


def test_server_metadata_name_the_server_and_its_extensions(client: InferenceServerClient) -> None:
    metadata = client.get_server_metadata()
    assert metadata["name"] == "kfunc"
    assert {"binary_tensor_data", "model_repository"} <= set(metadata["extensions"])


def test_model_metadata_describe_inputs_and_outputs(client: InferenceServerClient) -> None:
    metadata = client.get_model_metadata("iris")
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    assert [output["name"] for output in metadata["outputs"]] == ["label", "probabilities"]


def test_model_metadata_list_all_versions(client: InferenceServerClient) -> None:
    assert client.get_model_metadata("echo", "1")["versions"] == ["1", "2"]


def test_the_repository_index_lists_every_version(client: InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    assert {(each["name"], each["version"], each["state"]) for each in index} == {
        ("counter", "1", "READY"),
        ("echo", "1", "READY"),
        ("echo", "2", "READY"),
        ("halves", "1", "READY"),
        ("iris", "1", "READY"),
        ("slow", "1", "READY"),
    }


def test_a_model_is_unloaded_and_loaded_again(client: InferenceServerClient, manager: InferenceServerClient) -> None:
    manager.unload_model("iris")
    assert not client.is_model_ready("iris")
    with pytest.raises(InferenceServerException, match="not loaded"):
        client.infer("iris", [tensor(FLOWER, "FP32", name="input")])
    manager.load_model("iris")
    assert client.is_model_ready("iris")
    assert client.infer("iris", [tensor(FLOWER, "FP32", name="input")]).as_numpy("label").tolist() == [2]


def test_loading_what_is_not_there_is_refused(manager: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="rose") as refused:
        manager.load_model("rose")
    assert refused.value.status() == "404"


def test_models_are_not_managed_on_the_inference_port(client: InferenceServerClient) -> None:
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as refused:
            change("iris")
        assert refused.value.status() == "404"
    assert client.is_model_ready("iris")


# ---- inference


@pytest.mark.parametrize("datatype", ARRAYS)
def test_binary_tensors_come_back_as_they_went(client: InferenceServerClient, datatype: str) -> None:
    sent = ARRAYS[datatype]
    result = client.infer(model_for(datatype), [tensor(sent, datatype)])
    assert result.get_output("x")["datatype"] == datatype
    assert same(result.as_numpy("x"), sent)


@pytest.mark.parametrize("datatype", AS_JSON)
def test_json_tensors_come_back_as_they_went(client: InferenceServerClient, datatype: str) -> None:
    sent = ARRAYS[datatype]
    result = client.infer("echo", [tensor(sent, datatype, binary=False)], outputs=asked(binary=False))
    output = result.get_output("x")
    assert (output["datatype"], output["shape"]) == (datatype, list(sent.shape))
    expected = [each.decode() for each in sent.ravel()] if datatype == "BYTES" else sent.ravel().tolist()
    assert [pytest.approx(each) if datatype == "FP32" else each for each in expected] == output["data"]


@pytest.mark.parametrize("datatype", AS_JSON)
@pytest.mark.parametrize("binary", [True, False])
def test_the_answer_s_form_is_the_caller_s_choice(client: InferenceServerClient, datatype: str, binary: bool) -> None:
    sent = ARRAYS[datatype]
    result = client.infer("echo", [tensor(sent, datatype, binary=not binary)], outputs=asked(binary=binary))
    output = result.get_output("x")
    assert ("binary_data_size" in output.get("parameters", {})) == binary
    assert ("data" in output) != binary
    answered = result.as_numpy("x")
    if datatype == "BYTES" and not binary:
        answered = np.array([each.encode() for each in answered.ravel()], np.object_).reshape(answered.shape)
    assert same(answered, sent)


def test_json_and_binary_tensors_go_together(client: InferenceServerClient) -> None:
    a, b, c = (np.arange(size, dtype=np.int32) for size in (3, 4, 5))
    inputs = [tensor(a, "INT32", name="a"), tensor(b, "INT32", binary=False, name="b"), tensor(c, "INT32", name="c")]
    outputs = [*asked("c"), *asked("a", binary=False), *asked("b")]
    result = client.infer("echo", inputs, outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["c", "a", "b"]
    assert [result.as_numpy(name).tolist() for name in "abc"] == [a.tolist(), b.tolist(), c.tolist()]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0, 3), (1,) * 8, (5, 1, 2)])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_every_shape_comes_back(client: InferenceServerClient, shape: tuple[int, ...], datatype: str) -> None:
    sent = np.full(shape, b"x", np.object_) if datatype == "BYTES" else np.ones(shape, np.float32)
    result = client.infer("echo", [tensor(sent, datatype)])
    assert result.get_output("x")["shape"] == list(shape)
    assert same(result.as_numpy("x"), sent)


def test_strings_that_are_not_utf8_go_as_binary_and_not_as_json(client: InferenceServerClient) -> None:
    sent = np.array([b"\xff\xfe"], np.object_)
    assert same(client.infer("echo", [tensor(sent, "BYTES")]).as_numpy("x"), sent)
    with pytest.raises(InferenceServerException, match="UTF-8"):
        client.infer("echo", [tensor(sent, "BYTES")], outputs=asked(binary=False))


@pytest.mark.parametrize("outgoing", ["gzip", "deflate", None])
@pytest.mark.parametrize("incoming", ["gzip", "deflate", None])
@pytest.mark.parametrize("binary", [True, False])
def test_bodies_are_compressed_both_ways(
    client: InferenceServerClient, outgoing: str | None, incoming: str | None, binary: bool
) -> None:
    sent = np.arange(20_000, dtype=np.int64).reshape(2, -1)
    result = client.infer(
        "echo",
        [tensor(sent, "INT64", binary=binary)],
        outputs=asked(binary=binary),
        request_compression_algorithm=outgoing,
        response_compression_algorithm=incoming,
    )
    assert same(result.as_numpy("x"), sent)


def test_a_large_tensor_is_compressed_both_ways(client: InferenceServerClient) -> None:
    sent = np.zeros((8, 3, 224, 224), np.float32)
    result = client.infer(
        "echo", [tensor(sent, "FP32")], request_compression_algorithm="gzip", response_compression_algorithm="gzip"
    )
    answered = result.as_numpy("x")
    assert answered.shape == sent.shape
    assert not answered.any()


@pytest.mark.parametrize(("version", "expected"), [("", "2"), ("1", "1"), ("2", "2")])
def test_a_version_is_asked_by_its_number_and_the_newest_otherwise(
    client: InferenceServerClient, version: str, expected: str
) -> None:
    result = client.infer("echo", [tensor(FLOWER, "FP32")], model_version=version)
    assert result.get_response()["model_version"] == expected


def test_the_request_s_id_comes_back(client: InferenceServerClient) -> None:
    result = client.infer("echo", [tensor(FLOWER, "FP32")], request_id="call-7")
    assert result.get_response()["id"] == "call-7"


def test_parameters_priorities_and_timeouts_are_taken(client: InferenceServerClient) -> None:
    parameters = {"text": "a", "number": 2, "truth": True}
    result = client.infer("echo", [tensor(FLOWER, "FP32")], parameters=parameters, priority=1, timeout=1_000_000)
    assert same(result.as_numpy("x"), FLOWER)


def test_a_sequence_is_answered_call_by_call_since_models_keep_no_state(client: InferenceServerClient) -> None:
    result = client.infer("echo", [tensor(FLOWER, "FP32")], sequence_id=7, sequence_start=True, sequence_end=True)
    assert same(result.as_numpy("x"), FLOWER)


def test_header_fields_and_query_parameters_are_taken(client: InferenceServerClient) -> None:
    result = client.infer("echo", [tensor(FLOWER, "FP32")], headers={"x-tenant": "a"}, query_params={"trace": "1"})
    assert same(result.as_numpy("x"), FLOWER)


def test_requests_at_the_same_time_get_their_own_answers(client: InferenceServerClient) -> None:
    arrays = [np.full((1, 4), number, np.float32) for number in range(16)]
    begun = [client.async_infer("echo", [tensor(array, "FP32")], request_id=str(at)) for at, array in enumerate(arrays)]
    results = [each.get_result() for each in begun]
    assert [result.get_response()["id"] for result in results] == [str(number) for number in range(16)]
    assert all(same(result.as_numpy("x"), array) for result, array in zip(results, arrays, strict=True))


def test_a_request_made_and_an_answer_read_by_hand(served: Served) -> None:
    import urllib.request

    body, json_length = InferenceServerClient.generate_request_body([tensor(FLOWER, "FP32")])
    fields = {"Inference-Header-Content-Length": str(json_length), "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{served.url}/v2/models/echo/infer", body, fields)
    with urllib.request.urlopen(request, timeout=10) as response:
        length = int(response.headers["Inference-Header-Content-Length"])
        result = InferenceServerClient.parse_response_body(response.read(), header_length=length)
    assert same(result.as_numpy("x"), FLOWER)


# ---- what a function does not have: a 4xx that says so


Call = Callable[[InferenceServerClient], InferResult]

ABSENT: dict[str, Call] = {
    "model configuration": lambda client: client.get_model_config("echo"),
    "statistics": lambda client: client.get_inference_statistics("echo"),
    "statistics of all": lambda client: client.get_inference_statistics(),
    "trace settings": lambda client: client.get_trace_settings(),
    "new trace settings": lambda client: client.update_trace_settings(settings={"trace_level": ["OFF"]}),
    "log settings": lambda client: client.get_log_settings(),
    "new log settings": lambda client: client.update_log_settings({"log_info": True}),
    "system shared memory": lambda client: client.get_system_shared_memory_status(),
    "a region": lambda client: client.register_system_shared_memory("region", "/region", 64),
    "no region": lambda client: client.unregister_system_shared_memory(),
    "CUDA shared memory": lambda client: client.get_cuda_shared_memory_status(),
    "a CUDA region": lambda client: client.register_cuda_shared_memory("region", b"handle", 0, 64),
    "no CUDA region": lambda client: client.unregister_cuda_shared_memory(),
}


@pytest.mark.parametrize("call", ABSENT.values(), ids=ABSENT.keys())
def test_an_extension_that_is_not_there_is_answered_404(client: InferenceServerClient, call: Call) -> None:
    with pytest.raises(InferenceServerException, match=r"no such path|no model 'stats'") as refused:
        call(client)
    assert refused.value.status() == "404"


def in_shared_memory() -> InferInput:
    shared = InferInput("x", [1, 4], "FP32")
    shared.set_shared_memory("region", 16)
    return shared


def into_shared_memory() -> InferRequestedOutput:
    output = InferRequestedOutput("x")
    output.set_shared_memory("region", 16)
    return output


REFUSED: dict[str, tuple[Call, str]] = {
    "an input in shared memory": (lambda client: client.infer("echo", [in_shared_memory()]), "shared memory"),
    "an output in shared memory": (
        lambda client: client.infer("echo", [tensor(FLOWER, "FP32")], outputs=[into_shared_memory()]),
        "shared memory",
    ),
    "classes of an output": (
        lambda client: client.infer("echo", [tensor(FLOWER, "FP32")], outputs=asked(class_count=2)),
        "classification",
    ),
    "an output that the model does not have": (
        lambda client: client.infer("iris", [tensor(FLOWER, "FP32", name="input")], outputs=asked("colour")),
        "colour",
    ),
    "another shape": (lambda client: client.infer("iris", [tensor(FLOWER[:, :3], "FP32", name="input")]), "shape"),
    "another datatype": (
        lambda client: client.infer("iris", [tensor(FLOWER.astype(np.float64), "FP64", name="input")]),
        "FP32 expected",
    ),
}


@pytest.mark.parametrize(("call", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_is_answered_400_with_the_reason(client: InferenceServerClient, call: Call, reason: str) -> None:
    with pytest.raises(InferenceServerException, match=reason) as refused:
        call(client)
    assert refused.value.status() == "400"


@pytest.mark.parametrize(("model", "version"), [("rose", ""), ("echo", "9")])
def test_a_model_or_version_that_is_not_there_is_answered_404(client: InferenceServerClient, model: str, version: str) -> None:
    with pytest.raises(InferenceServerException, match=version or model) as refused:
        client.infer(model, [tensor(FLOWER, "FP32")], model_version=version)
    assert refused.value.status() == "404"
