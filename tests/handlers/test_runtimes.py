"""The runtimes and the loaded model around them, on real models and real handler.py files."""

import asyncio
import hashlib
import inspect
import json
import sys
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import joblib
import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression

from kfunc.config.inference import Limits, Runtime
from kfunc.config.pod import PodConfig
from kfunc.config.residency import Warmup
from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.demand import PROCESSOR_ONLY
from kfunc.handlers.accelerators.facts import Facts, Gpu
from kfunc.handlers.contract import Handler
from kfunc.handlers.encoding import encode_v1, encode_v2
from kfunc.handlers.layout import detect
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.onnx_providers import require_started
from kfunc.handlers.opening import load_handler
from kfunc.handlers.registry import RUNTIMES, RuntimeEntry, create, missing_packages
from kfunc.handlers.warmup import warm_up
from kfunc.protocol import v1, v2
from kfunc.protocol.messages import InferRequest, InferResponse, TensorSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
Configured = Callable[..., PodConfig]


class Surroundings:
    headers: dict[bytes, bytes] = {}
    deadline = queue_s = compute_s = compute_at = 0.0
    cancelled = False


def answer(model: LoadedModel, body: Any, decode: Any = v2.decode_request) -> InferResponse:
    async def ask() -> InferResponse:
        answer = model.infer(decode(json.dumps(body).encode()), Surroundings())
        return await answer if inspect.isawaitable(answer) else answer

    return asyncio.run(ask())


def tensor(data: Any, name: str = "x", datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": list(np.shape(data)), "datatype": datatype, "data": data}


def outputs(model: LoadedModel, *tensors: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(encode_v2(InferRequest([]), answer(model, {"inputs": tensors}))[0])["outputs"]
    return {output["name"]: output["data"] for output in found}


# ---- registry


@pytest.mark.parametrize(
    ("uri", "runtime"),
    [("a/model.onnx", "onnx"), ("file:///m.ONNX", "onnx"), ("m.skops", "sklearn"), ("m.pkl", "sklearn"),
     ("m.joblib", "sklearn"), ("m.pickle", "sklearn"), ("handler.py", "python"), ("folder", "python")],
)  # fmt: skip
def test_the_name_of_a_model_decides_its_runtime(uri: str, runtime: str) -> None:
    assert detect(uri)[0] == runtime


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("m.params", "m.params: MXNet is not maintained any more: export the model to ONNX"),
        (
            "m.txt",
            "m.txt: no runtime reads such a file; known are .py, .onnx, ",
        ),
    ],
)
def test_a_model_that_no_runtime_reads_is_refused_with_a_way_out(uri: str, message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        detect(uri)
    assert caught.value.message.startswith(message)


def test_every_runtime_of_the_registry_is_created_or_says_how_it_is_installed() -> None:
    for runtime in RUNTIMES:
        if missing_packages(runtime):
            with pytest.raises(ModelLoadError, match=rf"runtime {runtime} needs .*: pip install -e '.*\[.+\]'"):
                create(runtime)
        else:
            assert create(runtime).platform


def test_every_runtime_is_a_value_of_func_yaml_and_an_extra() -> None:
    extras = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"auto", *RUNTIMES} == set(get_args(Runtime))
    assert {entry.extra for entry in RUNTIMES.values() if entry.packages} <= extras.keys()


def test_a_missing_package_is_named_with_the_way_to_install_it() -> None:
    RUNTIMES["test"] = RuntimeEntry("no.such:Class", ("no_such_package",), (), "test", ())
    try:
        with pytest.raises(ModelLoadError, match=r"runtime test needs no_such_package: pip install -e '.*\[test\]'"):
            create("test")
    finally:
        del RUNTIMES["test"]


# ---- the model file


def test_a_missing_model_file_is_named(configured: Configured, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"m\.onnx: there is no such model file \(inference\.model\.uri\)"):
        load_handler(configured(str(tmp_path / "m.onnx")))


def test_a_file_with_the_right_digest_is_loaded(configured: Configured) -> None:
    digest = f"sha256:{hashlib.sha256((EXAMPLES / 'iris/model.onnx').read_bytes()).hexdigest()}"
    assert load_handler(configured(digest=digest)).inputs


def test_a_folder_is_opened_by_its_digest_alone(configured: Configured, tmp_path: Path) -> None:
    code = "class Model:\n    def predict(self, inputs):\n        return inputs\n"
    (tmp_path / "handler.py").write_text(code)
    line = f"{hashlib.sha256(code.encode()).hexdigest()}  handler.py\n"
    digest = f"sha256:{hashlib.sha256(line.encode()).hexdigest()}"
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        for _ in range(2):  # the first leaves nothing behind that would be another digest
            load_handler(configured(str(tmp_path), "python", trust=True, digest=digest))
    finally:
        sys.dont_write_bytecode = before
    (tmp_path / "more.py").touch()
    with pytest.raises(ModelLoadError, match=f"its digest is sha256:[0-9a-f]+, expected is {digest}"):
        load_handler(configured(str(tmp_path), "python", trust=True, digest=digest))


def test_a_file_with_another_digest_is_not_opened(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"broken")
    with pytest.raises(ModelLoadError, match=r"the file's digest is sha256:\w+, func.yaml says sha256:0+"):
        load_handler(configured(str(tmp_path / "m.onnx"), digest="sha256:" + "0" * 64))


# ---- onnx


def test_an_onnx_model_tells_what_it_takes_and_gives(configured: Configured) -> None:
    handler = load_handler(configured())
    assert handler.inputs == [TensorSpec("input", "FP32", [-1, 4])]
    assert [(each.name, each.datatype) for each in handler.outputs] == [("label", "INT64"), ("probabilities", "FP32")]


def test_an_onnx_model_answers_v2(configured: Configured) -> None:
    model = LoadedModel(configured(), load_handler(configured()))
    assert outputs(model, tensor(ROWS, "input", "FP32"))["label"] == [0, 2]


def test_an_onnx_model_answers_v1(configured: Configured) -> None:
    model = LoadedModel(configured(), load_handler(configured()))
    rows = json.loads(encode_v1(InferRequest([]), answer(model, {"instances": ROWS}, v1.decode_request))[0])["predictions"]
    assert [row["label"] for row in rows] == [0, 2]


def test_a_broken_onnx_file_is_refused_with_onnxruntimes_reason(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"broken")
    with pytest.raises(ModelLoadError, match="onnxruntime cannot open it: it is cut off, or no ONNX file"):
        load_handler(configured(str(tmp_path / "m.onnx")))


def test_an_onnx_file_of_a_newer_format_is_told_to_be_one(configured: Configured, tmp_path: Path) -> None:
    model = Path(configured().model.uri).read_bytes()
    assert model[0] == 0x08  # ir_version, the first field
    (tmp_path / "m.onnx").write_bytes(b"\x08\x63" + model[2:])
    with pytest.raises(
        ModelLoadError, match=r"open it: it is newer than onnxruntime [0-9.]+: take .*Unsupported model IR version: 99"
    ) as told:
        load_handler(configured(str(tmp_path / "m.onnx")))
    assert "onnxruntime_src" not in told.value.message


def relu(path: Path, opset: int) -> str:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9), path)
    return str(path)


def test_a_newer_opset_is_told_before_what_onnxruntime_says(configured: Configured, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"open it: it is newer than onnxruntime [0-9.]+: .*Opset 77") as told:
        load_handler(configured(relu(tmp_path / "m.onnx", 77)))
    assert "onnxruntime_src" not in told.value.message


def test_a_locale_that_is_missing_is_told() -> None:
    from kfunc.handlers.onnx import _reason

    said = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: /onnxruntime_src/a/string_normalizer.cc:"
        "235 onnxruntime::StringNormalizer::Locale::Locale(const std::string&)::<lambda()> Failed to construct locale with "
        "name:en_US.UTF-8:locale::facet::_S_create_c_locale name not valid:Please, install necessary language-pack-XX"
    )
    told = _reason(RuntimeError(said))
    assert told.startswith("it changes the case of texts by the locale en_US.UTF-8, which is not here: install it")
    assert "onnxruntime_src" not in told


def test_an_accelerator_that_is_not_there_is_refused_with_what_is(configured: Configured) -> None:
    with pytest.raises(
        ModelLoadError,
        match=r"accelerator cuda is not available: (no NVIDIA GPU here|this onnxruntime offers .*CPUExecutionProvider)",
    ):
        load_handler(configured(accelerator="cuda"))


def identity(path: Path, element: int) -> str:
    """A model that answers with what it gets."""
    x, y = (onnx.helper.make_tensor_value_info(name, element, [None]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9), path)
    return str(path)


def test_bytes_that_are_no_text_are_the_callers_fault(
    configured: Configured, tmp_path: Path, caller: Callable[..., Any]
) -> None:
    config = configured(identity(tmp_path / "m.onnx", onnx.TensorProto.STRING))
    model = caller(LoadedModel(config, load_handler(config)))
    assert model.infer(tensor(["a"], "x", "BYTES"))[0] == 200
    status, told = model.ask("POST", "/v1/models/iris:predict", {"instances": [{"b64": "/w=="}]})
    assert (status, told) == (400, {"error": "input 'x': texts expected, BYTES in UTF-8"})


def test_a_type_that_the_protocols_have_not_is_refused(configured: Configured, tmp_path: Path) -> None:
    path = identity(tmp_path / "m.onnx", onnx.TensorProto.FLOAT8E4M3FN)
    with pytest.raises(ModelLoadError, match=r"m\.onnx: x is a tensor\(float8e4m3fn\), which the protocols cannot carry"):
        load_handler(configured(path))


# ---- sklearn


def test_a_skops_model_answers(configured: Configured) -> None:
    config = configured(str(EXAMPLES / "wine-sklearn/model.skops"), "auto")
    model = LoadedModel(config, load_handler(config))
    (spec,) = model.metadata.inputs
    assert (spec.name, spec.datatype, list(spec.shape)) == ("input", "FP64", [-1, 13])
    assert len(outputs(model, tensor([[1] * 13], "input", "INT32"))["predict"]) == 1


def test_a_broken_skops_file_is_refused(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "m.skops").write_bytes(b"broken")
    with pytest.raises(ModelLoadError, match="skops cannot read it"):
        load_handler(configured(str(tmp_path / "m.skops"), "sklearn"))


@pytest.fixture
def pickled(tmp_path: Path) -> tuple[str, str]:
    """A pickled estimator: its path and digest."""
    path = tmp_path / "m.pkl"
    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], ["a", "b"]), path)
    return str(path), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_pickle_that_is_trusted_by_its_digest_is_loaded(configured: Configured, pickled: tuple[str, str]) -> None:
    config = configured(pickled[0], "sklearn", trust=True, digest=pickled[1])
    model = LoadedModel(config, load_handler(config))
    assert outputs(model, tensor([[0.0], [9.0]], "input"))["predict"] == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "a pickle can run any code"),
        ({"trust": True}, "a pickle can run any code"),
        ({"digest": "right"}, "a pickle can run any code"),
        ({"trust": True, "digest": "sha256:" + "0" * 64}, "the file's digest is"),
    ],
)
def test_any_other_pickle_is_refused(configured: Configured, pickled: tuple[str, str], changes: Any, message: str) -> None:
    changes = {**changes, "digest": pickled[1]} if changes.get("digest") == "right" else changes
    with pytest.raises(ModelLoadError, match=message):
        load_handler(configured(pickled[0], "sklearn", **changes))


# ---- python


@pytest.fixture
def python(configured: Configured, tmp_path: Path) -> Callable[..., LoadedModel]:
    """A model of this handler.py."""

    def load(text: str, **changes: Any) -> LoadedModel:
        (tmp_path / "handler.py").write_text(text)
        config = configured(str(tmp_path), "python", **changes)
        return LoadedModel(config, load_handler(config))

    return load


CLASS = """
import numpy as np
from kfunc import Handler, TensorSpec
class Adder(Handler):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    def load(self, path): self.offset = float((path / "offset").read_text())
    def predict(self, inputs): return {"y": inputs["x"] + self.offset}
"""
ASYNC = """
import asyncio
from kfunc import Handler
class Slow(Handler):
    async def preprocess(self, inputs):
        await asyncio.sleep(0)
        return inputs
    async def predict(self, inputs):
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return {"y": inputs["x"] * 2}
    def postprocess(self, outputs): return {"z": outputs["y"] + 1}
"""


def test_a_handler_class_answers_and_reads_its_files(python: Callable[..., LoadedModel], tmp_path: Path) -> None:
    (tmp_path / "offset").write_text("10")
    model = python(CLASS)
    assert model.metadata.inputs == [TensorSpec("x", "FP64", [-1])]
    assert outputs(model, tensor([1, 2])) == {"y": [11.0, 12.0]}


def test_an_async_handler_class_answers_with_all_its_steps(python: Callable[..., LoadedModel]) -> None:
    assert outputs(python(ASYNC), tensor([1, 2])) == {"z": [3.0, 5.0]}


@pytest.mark.parametrize(
    ("signature", "inputs", "result"),
    [
        ("def predict(inputs): return inputs['x'] * 2", {"x": [1]}, {"output-0": [2.0]}),
        ("def predict(rows): return rows * 2", {"anything": [1]}, {"output-0": [2.0]}),
        ("def predict(a, b): return a + b", {"b": [1], "a": [2]}, {"output-0": [3.0]}),
        ("def predict(a, b=5): return a + b", {"a": [2]}, {"output-0": [7.0]}),
        ("def predict(**arrays): return sum(arrays.values())", {"b": [1], "a": [2]}, {"output-0": [3.0]}),
        ("def predict(a, **more): return a + len(more)", {"a": [2], "c": [1]}, {"output-0": [3.0]}),
        ("def predict(a): return {'p': a, 'q': a.sum()}", {"a": [1, 2]}, {"p": [1.0, 2.0], "q": [3.0]}),
        ("async def predict(a): return a.tolist()", {"a": [1]}, {"output-0": [1.0]}),
    ],
)
def test_a_plain_function_gets_arrays_by_its_parameters_names(
    python: Callable[..., LoadedModel], signature: str, inputs: dict[str, Any], result: Any
) -> None:
    assert outputs(python(signature), *[tensor(data, name) for name, data in inputs.items()]) == result


AT_ONCE = "class A:\n  def predict(self, x): return x\n  {}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import numpy\nx = 1 / 0", r"handler\.py:2: ZeroDivisionError: division by zero$"),
        ("import numpy as np\nrows = np.loadtxt('missing.csv')", r"handler\.py:2: FileNotFoundError: missing\.csv not found"),
        ("a = 1\ndef predict(:", r"handler\.py:2: SyntaxError: "),
        ("import no_such_module", r"handler\.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys\nsys.exit('done')", r"handler\.py:2: SystemExit: done"),
        (CLASS, r"handler\.py:7: FileNotFoundError: "),
        ("class A:\n  def predict(self, x): ...\nclass B(A): ...", r"handler\.py: more than one handler class: A, B; keep one"),
        ("", r"handler\.py: defines neither a class derived from kfunc.Handler nor a function predict"),
        ("predict = 5", r"handler\.py: defines neither"),
        (AT_ONCE.format("def predict_stream(self, x): return iter([x])"), r"handler\.py: predict_stream does not yield: write"),
        (AT_ONCE.format("async def predict_stream(self, x): return [x]"), r"handler\.py: predict_stream does not yield: write"),
        (AT_ONCE.format("takes_images = True"), r"takes_images is for a model with one input of BYTES: declare it in `inputs`"),
        (
            AT_ONCE.format("inputs = ['x']\n  takes_images = True"),
            r"handler\.py: AttributeError: 'str' object has no attribute",
        ),
    ],
)
def test_a_fault_in_the_users_file_is_told_with_its_place(python: Callable[..., LoadedModel], text: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        python(text)


def test_a_folder_without_handler_py_is_refused(configured: Configured, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"handler\.py: there is no such file"):
        load_handler(configured(str(tmp_path), "python"))


def test_modules_beside_the_handler_are_found(python: Callable[..., LoadedModel], tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("def double(a): return a * 2")
    assert outputs(python("import beside_it\ndef predict(a): return beside_it.double(a)"), tensor([4])) == {"output-0": [8.0]}


DECLARES = """
import numpy as np
from kfunc import Handler, TensorSpec
class Declares(Handler):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP32", [-1]), TensorSpec("t", "BYTES", [2])]
    def predict(self, inputs): return {GIVEN}
    def explain(self, inputs): return {"why": inputs["x"]}
"""
Y, T = '"y": np.float32([1])', '"t": np.array(["a", "b"])'


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (f"{{{Y}, {T}}}", []),
        (f'{{"z": np.float32([1]), {T}}}', ["'z' is given and not declared", "'y' is declared and not given"]),
        (f'{{"y": np.float64([1]), {T}}}', ["'y' is declared as FP32 and given as FP64"]),
        (f'{{"y": np.zeros((2, 2), "f"), {T}}}', ["'y' is declared with the shape [-1] and given with [2, 2]"]),
        (f'{{{Y}, "t": np.array([b"a"])}}', ["'t' is declared with the shape [2] and given with [1]"]),
        ('{"y": [1]}', ["'t' is declared and not given", "'y' is declared as FP32 and given as INT64"]),
    ],
)
@pytest.mark.parametrize("execution", ["auto", "thread", "process"])
def test_the_first_answer_that_is_not_as_declared_is_told_once(
    python: Callable[..., LoadedModel], caplog: pytest.LogCaptureFixture, given: str, told: list[str], execution: str
) -> None:
    model = python(DECLARES.replace("{GIVEN}", given), execution=execution)
    try:
        for _ in range(2):
            answer(model, {"inputs": [tensor([1.0])]})
    finally:
        model.close()
    warnings = [record.getMessage() for record in caplog.records if "is answered as it is" in record.getMessage()]
    assert [line.partition("the output ")[2].partition(";")[0] for line in warnings] == told


def test_parts_and_explanations_need_not_be_whole_answers(
    python: Callable[..., LoadedModel], caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        request = v2.decode_request(json.dumps({"inputs": [tensor([1.0])]}).encode())
        explained: Any = model.explain(request, Surroundings())
        await explained
        assert not caplog.records
        async for _ in parts.stream(request, Surroundings()):
            pass
        model.close()
        parts.close()

    model = python(DECLARES.replace("{GIVEN}", f"{{{Y}}}"))
    parts = python(DECLARES.replace("return {GIVEN}", f"yield {{{Y}}}"))
    asyncio.run(ask())
    assert not caplog.records


@pytest.mark.parametrize("execution", ["auto", "thread", "process"])
@pytest.mark.parametrize("step", ["def preprocess", "def predict", "async def predict", "def postprocess"])
def test_a_handler_refuses_an_input_in_its_own_words(asked: Callable[..., Any], execution: str, step: str) -> None:
    code = f"""
from kfunc import Handler, InvalidRequest
class Refuses(Handler):
    def predict(self, inputs):
        return inputs
    {step}(self, inputs):
        raise InvalidRequest("age: 0 or more expected")
"""
    assert asked(code, tensor([1]), execution=execution) == (400, {"error": "age: 0 or more expected"})


@pytest.fixture
def asked(caller: Callable[..., Any], python: Callable[..., LoadedModel]) -> Callable[..., Any]:
    """Status and answer of a V2 request to this handler.py."""

    def ask(text: str, *inputs: dict[str, Any], **changes: Any) -> Any:
        return caller(python(text, **changes)).infer(*inputs)

    return ask


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("def predict(a, b): return a", [tensor([1], "a")], "the model's inputs are a, b; given are a"),
        ("def predict(rows): return rows", [], "the model's only input is rows; 0 are given"),
        ("def predict(rows): return rows", [tensor([1]), tensor([1], "y")], "the model's only input is rows; 2 are given"),
        (
            "from kfunc.errors import InvalidRequest\ndef predict(a): raise InvalidRequest('too tall')",
            [tensor([1])],
            "too tall",
        ),
        ("def predict(a): return a", [tensor([1]) | {"shape": [-1]}], "input 'x': the shape [-1] has a negative dimension"),
        (
            "def predict(a): return a",
            [tensor(["p"], datatype="BYTES") | {"shape": [1] * 70}],
            "input 'x': more than 32 dimensions",
        ),
    ],
)
def test_a_request_that_the_handler_does_not_take_is_400(
    asked: Callable[..., Any], text: str, inputs: Any, message: str
) -> None:
    assert asked(text, *inputs) == (400, {"error": message})


@pytest.mark.parametrize(
    "text",
    [
        "def predict(a): raise KeyError('/secret')",
        "async def predict(a): raise KeyError('/secret')",
        "def predict(a): return [[1], [2, 3]]",
        "def predict(a): return {'y': a.no_such}",
    ],
)
def test_a_fault_of_the_handler_is_500_and_shows_nothing_of_it(asked: Callable[..., Any], text: str) -> None:
    assert asked(text, tensor([1])) == (500, {"error": "the model failed; the log of the handler says more"})


@pytest.mark.parametrize(
    "text", ["import time\ndef predict(a): time.sleep(1)", "import asyncio\nasync def predict(a): await asyncio.sleep(9)"]
)
def test_an_answer_that_takes_too_long_is_504(asked: Callable[..., Any], text: str) -> None:
    assert asked(text, tensor([1]), timeout_s=0.1) == (
        504,
        {"error": "the model did not answer in time (timeout_s, or the caller's deadline)"},
    )


def test_a_task_that_is_cancelled_is_not_late(python: Callable[..., LoadedModel]) -> None:
    model = python("import asyncio\nasync def predict(a): await asyncio.sleep(9)")

    async def ask() -> None:
        request = json.dumps({"inputs": [tensor([1])]}).encode()
        call = asyncio.ensure_future(model.infer(v2.decode_request(request), Surroundings()))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(ask())


def test_requests_past_the_limit_are_503(python: Callable[..., LoadedModel]) -> None:
    model = python(
        "import time\ndef predict(a): time.sleep(0.2); return a", limits=Limits(max_concurrency=1), execution="thread"
    )

    async def ask() -> list[Any]:
        request = json.dumps({"inputs": [tensor([1])]}).encode()
        calls = [model.infer(v2.decode_request(request), Surroundings()) for _ in range(3)]
        return await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[arg-type]

    assert [getattr(each, "status", 200) for each in asyncio.run(ask())] == [200, 503, 503]


def test_a_handler_decides_when_it_is_ready(python: Callable[..., LoadedModel]) -> None:
    assert not python("class A:\n  def predict(self, a): return a\n  def ready(self): return False").ready


READY = """
class A:
    asked = 0
    async def load(self, path): self.offset = float((path / "offset").read_text())
    async def ready(self):
        self.asked += 1
        return self.asked > 1
    def predict(self, a): return a + self.offset
"""


def test_a_load_and_a_ready_that_are_async_are_waited_for(python: Callable[..., LoadedModel], tmp_path: Path) -> None:
    (tmp_path / "offset").write_text("10")
    model = python(READY)

    async def look() -> list[bool]:
        first = model.ready
        await asyncio.sleep(0)
        return [first, model.ready]

    assert outputs(model, tensor([1])) == {"output-0": [11.0]}
    assert asyncio.run(look()) == [False, True]


def test_an_async_ready_that_fails_is_not_ready(python: Callable[..., LoadedModel]) -> None:
    model = python(
        "class A:\n  left = [True]\n  def predict(self, a): return a\n  async def ready(self): return self.left.pop()"
    )

    async def look() -> list[bool]:
        first = model.ready
        await asyncio.sleep(0)
        return [first, model.ready]

    assert asyncio.run(look()) == [True, False]


OPTIONAL = """
from kfunc import Handler, TensorSpec
class Adder(Handler):
    inputs = [TensorSpec("x", "FP64", [-1])]
    optional_inputs = [TensorSpec("more", "FP64", [1])]
    def predict(self, inputs): return {"y": inputs["x"] + inputs.get("more", 0)}
    def predict_stream(self, inputs):
        for each in inputs["x"]: yield {"y": each}
"""


@pytest.mark.parametrize("execution", ["auto", "process"])
def test_a_handlers_optional_inputs_may_be_left_out(python: Callable[..., LoadedModel], execution: str) -> None:
    model = python(OPTIONAL, execution=execution)
    assert [each.name for each in model.metadata.inputs] == ["x"]
    assert outputs(model, tensor([1])) == {"y": [1.0]}
    assert outputs(model, tensor([1]), tensor([2], "more")) == {"y": [3.0]}
    model.close()


TABLE = """
from kfunc import Handler, TensorSpec
class Sums(Handler):
    is_table = True
    inputs = [TensorSpec("a", "FP64", [-1]), TensorSpec("b", "FP64", [-1])]
    def predict(self, inputs): return inputs["a"] + inputs["b"]
"""


def test_a_handlers_table_has_one_number_of_rows(asked: Callable[..., Any]) -> None:
    uneven = asked(TABLE, tensor([1, 2], "a"), tensor([1], "b"))
    assert uneven == (400, {"error": "the columns do not all have the same number of rows"})
    assert asked(TABLE, tensor([1, 2], "a"), tensor([1, 2], "b"))[0] == 200


def test_a_handler_that_yields_is_warmed_up_too(python: Callable[..., LoadedModel]) -> None:
    model = python("asked = []\ndef predict(a):\n  asked.append(a)\n  yield a")
    asyncio.run(warm_up(model, Warmup(requests=2, shapes={"a": [1]})))
    assert len(sys.modules["handler"].asked) == 2


def test_a_handler_that_can_do_both_streams_too(caller: Callable[..., Any], python: Callable[..., LoadedModel]) -> None:
    parts = caller(python(OPTIONAL)).stream(tensor([1, 2]))
    assert [part["outputs"][0]["data"] for part in parts] == [[1.0], [2.0]]


# ---- explanations

EXPLAIN = "/v1/models/iris:explain"
AS_CLASS = """
from kfunc import Handler
class Weights(Handler):
    def preprocess(self, inputs): return {"x": inputs["input-0"] + 1}
    def predict(self, x): return x
    def postprocess(self, outputs): return {"never": 0}
    {async_}def explain(self, x): return {result}
"""


@pytest.mark.parametrize("async_", ["", "async "])
@pytest.mark.parametrize(
    ("result", "explanations"),
    [("x * 10", [20.0, 30.0]), ("{'weights': x, 'base': x * 0}", {"weights": [2.0, 3.0], "base": [0.0, 0.0]})],
)
def test_a_handler_explains_what_it_was_given_after_preprocess(
    caller: Callable[..., Any], python: Callable[..., LoadedModel], async_: str, result: str, explanations: Any
) -> None:
    model = python(AS_CLASS.replace("{async_}", async_).replace("{result}", result))
    assert caller(model).ask("POST", EXPLAIN, {"instances": [1.0, 2.0]}) == (200, {"explanations": explanations})


def test_a_plain_explain_function_is_one_too(caller: Callable[..., Any], python: Callable[..., LoadedModel]) -> None:
    model = python("def predict(x): return x\ndef explain(x): return x.tolist()")
    assert caller(model).ask("POST", EXPLAIN, {"instances": [[1], [2]]}) == (200, {"explanations": [[1], [2]]})


@pytest.mark.parametrize(
    "text", ["def predict(x): return x", "from kfunc import Handler\nclass A(Handler):\n  def predict(self, x): return x"]
)
def test_a_handler_without_explain_says_so(caller: Callable[..., Any], python: Callable[..., LoadedModel], text: str) -> None:
    status, answer = caller(python(text)).ask("POST", EXPLAIN, {"instances": [1]})
    assert (status, answer) == (
        501,
        {"error": "no explanations here: set inference.explain, or write an explain method in handler.py"},
    )


def test_an_explanation_that_fails_is_a_fault_of_the_models(
    caller: Callable[..., Any], python: Callable[..., LoadedModel]
) -> None:
    model = python("def predict(x): return x\ndef explain(x): raise KeyError('/secret')")
    status, answer = caller(model).ask("POST", EXPLAIN, {"instances": [1]})
    assert (status, answer) == (500, {"error": "the model failed; the log of the handler says more"})


# ---- several handler.py


def test_each_version_of_a_handler_has_modules_of_its_own(configured: Configured, tmp_path: Path) -> None:
    models = []
    for version in ("1", "2"):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "factor.py").write_text(f"FACTOR = {version}0")
        (folder / "handler.py").write_text("import factor\ndef predict(a): return a * factor.FACTOR")
        config = configured(str(folder), "python", version=version)
        models.append(LoadedModel(config, load_handler(config)))
    assert [outputs(model, tensor([1.0])) for model in models] == [{"output-0": [10.0]}, {"output-0": [20.0]}]


def test_what_is_installed_below_a_function_is_imported_once(configured: Configured, tmp_path: Path) -> None:
    installed = tmp_path / ".venv/lib/site-packages"
    installed.mkdir(parents=True)
    (installed / "only_once.py").write_text("import sys\nassert not hasattr(sys, 'only_once'), 'twice'\nsys.only_once = True")
    (tmp_path / "handler.py").write_text("import only_once\ndef predict(a): return a")
    sys.path.append(str(installed))
    try:
        for _ in range(2):
            load_handler(configured(str(tmp_path), "python"))
    finally:
        sys.path.remove(str(installed))
        del sys.modules["only_once"], sys.only_once  # type: ignore[attr-defined]


# ---- accelerators


@pytest.mark.parametrize(
    ("used", "refused"),
    [
        (["CUDAExecutionProvider", "CPUExecutionProvider"], False),
        (["CPUExecutionProvider"], True),
    ],
)
def test_a_provider_that_did_not_start_is_refused(used: list[str], refused: bool) -> None:
    with pytest.raises(ModelLoadError, match="could not start CUDAExecutionProvider") if refused else nullcontext():
        require_started("cuda", used)


def test_the_accelerator_that_was_chosen_is_in_the_metadata(configured: Configured) -> None:
    config = configured(accelerator="auto")
    model = LoadedModel(config, load_handler(config))
    assert model.metadata.parameters == {"accelerator": "cpu"}


def test_an_accelerator_that_this_onnxruntime_has_not_is_told_with_the_way_to_get_it(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.handlers.accelerators.probe.facts", lambda: Facts((Gpu("nvidia", "H100"),)))
    with pytest.raises(ModelLoadError, match=r"accelerator cuda is not available: .* pip install -e '.*\[onnx-gpu\]'"):
        load_handler(configured(accelerator="cuda"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.txt", r"^notes\.txt: no runtime reads such a file \(a \.txt of lightgbm begins otherwise\); known are"),
        ("model", r"^model: no runtime reads such a file; known are"),
        ("m.tar.gz", r"^m\.tar\.gz: is an archive; only what is fetched is unpacked: unpack it"),
    ],
)
def test_a_file_that_is_no_model_is_refused_by_what_it_is(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"words")
    with pytest.raises(ModelLoadError, match=reason):
        detect(tmp_path / name)


@pytest.mark.parametrize("page", ["<!DOCTYPE html>\n<p>", "\ufeff <HTML lang=en>", "<!-- x -->\n<html>"])
def test_a_page_in_a_model_s_place_is_told(tmp_path: Path, configured: Configured, page: str) -> None:
    for name in ("m.onnx", "m.bin"):
        (tmp_path / name).write_text(page)
    with pytest.raises(ModelLoadError, match=r"m\.onnx: this is an HTML page, no model"):
        load_handler(configured(str(tmp_path / "m.onnx")))
    with pytest.raises(ModelLoadError, match=r"m\.bin: this is an HTML page, no model"):
        detect(tmp_path / "m.bin")


def test_an_ending_is_listed_once() -> None:
    with pytest.raises(ModelLoadError) as caught:
        detect("m.unknown")
    known = caught.value.message.partition("known are ")[2].partition(". Set")[0].split(", ")
    assert len(known) == len(set(known))


@pytest.mark.parametrize("head", [b"\x08\x08\x12\x08skl2onnx", b"\x08\x0a:\x10", b"\x08\x07\x12\x00:"])
def test_an_onnx_file_is_known_by_its_content(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "model").write_bytes(head)
    assert detect(tmp_path / "model") == ("onnx", "the file begins as a model of onnx")


def test_a_renamed_file_is_told_what_it_looks_like(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"tree\nversion=v4\n")
    with pytest.raises(ModelLoadError, match=r"m\.onnx: this looks like a file of lightgbm: give it its own ending, or set"):
        load_handler(configured(str(tmp_path / "m.onnx")))


@pytest.mark.parametrize("whole", [True, False], ids=["a whole path", "from the folder"])
def test_a_handler_whose_load_raises_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("handler.py").write_text(
        "class H:\n    def load(self, path):\n        raise ValueError('no weights')\n    predict = None\n"
    )
    with pytest.raises(ModelLoadError, match=r"handler\.py:3: ValueError: no weights$") as caught:
        create("python").load(tmp_path / "handler.py" if whole else Path("handler.py"))
    assert caught.value.message.startswith(str(tmp_path)) is whole


@pytest.mark.parametrize("runtime", PROCESSOR_ONLY)
def test_a_runtime_of_the_processor_alone_says_that_and_why(
    configured: Configured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: str
) -> None:
    (tmp_path / "m").touch()
    monkeypatch.setattr("kfunc.handlers.opening.create", lambda runtime: Handler())
    vouched = {"trust": True, "digest": "sha256:" + "0" * 64, "checked": True}  # no child opens it first
    config = configured(str(tmp_path / "m"), runtime, **vouched)
    told = LoadedModel(config, load_handler(config)).metadata.parameters
    assert told == {"accelerator": "cpu", "accelerator_reason": f"{runtime} computes on the CPU"}
