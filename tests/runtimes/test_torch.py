"""The runtime torch on models that PyTorch wrote: TorchScript, exported programs, weights for a class in handler.py."""

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch._export.serde.schema import SCHEMA_VERSION

from kfunc.config.inference import Signature, TensorDeclaration
from kfunc.errors import ModelLoadError
from kfunc.handlers.layout import detect
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.protocol.messages import TensorSpec
from tests.runtimes.served import digest

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
CLASS = """
import torch
class Net(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layer = torch.nn.Linear(4, width)
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)
    def forward(self, flowers):
        return torch.softmax(self.layer(flowers) * self.scale, 1)
"""
INPUT = TensorDeclaration(name="flowers", shape=[-1, 4])
Configured = Callable[..., Any]
Ask = Callable[..., Any]


class Net(torch.nn.Module):  # type: ignore[misc]
    """CLASS, for what is saved whole."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, width)
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, flowers: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layer(flowers) * self.scale, 1)


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(7)
    made = Net()
    made.eval()
    return made


@pytest.fixture(scope="module")
def expected(net: Net) -> Any:
    with torch.inference_mode():
        return net(torch.tensor(ROWS)).numpy()


@pytest.fixture
def ask(caller: Callable[..., Any], configured: Configured) -> Ask:
    """The application around the model at a path."""

    def ask(path: Path, **changes: Any) -> Any:
        config = configured(str(path), detect(path)[0] if "runtime" not in changes else changes.pop("runtime"), **changes)
        return caller(LoadedModel(config, load_handler(config)))

    return ask


def v1(asked: Any) -> Any:
    status, answer = asked.ask("POST", "/v1/models/iris:predict", {"instances": ROWS})
    assert status == 200, answer
    return answer["predictions"]


def v2(asked: Any) -> Any:
    tensor = {"name": "flowers", "shape": [2, 4], "datatype": "FP32", "data": ROWS}
    status, answer = asked.infer(tensor)
    assert status == 200, answer
    (output,) = answer["outputs"]
    return np.reshape(output["data"], output["shape"])


def script(net: Net, path: Path, *, traced: bool) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and files of it are everywhere
        module = torch.jit.trace(net, torch.rand(2, 4)) if traced else torch.jit.script(net)
        module.save(str(path))
    return path


def program(net: Net, path: Path) -> Path:
    rows = torch.export.Dim("rows")
    torch.export.save(torch.export.export(net, (torch.rand(2, 4),), dynamic_shapes=({0: rows},)), path)
    return path


def weights(net: Net, path: Path, handler: str = CLASS) -> Path:
    path.parent.joinpath("handler.py").write_text(handler)
    if path.suffix == ".safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path)
    return path


WRITERS: dict[str, Callable[[Net, Path], Path]] = {
    "traced.pt": lambda net, path: script(net, path, traced=True),
    "scripted.torchscript": lambda net, path: script(net, path, traced=False),
    "exported.pt2": program,
    "weights.pth": weights,
    "weights.safetensors": weights,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_answers_v1_and_v2_as_the_model_itself_does(
    name: str, net: Net, expected: Any, ask: Ask, tmp_path: Path
) -> None:
    asked = ask(WRITERS[name](net, tmp_path / name))
    np.testing.assert_allclose(v2(asked), expected, rtol=1e-5)
    np.testing.assert_allclose(v1(asked), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("traced.pt", [TensorSpec("flowers", "FP32", [-1, -1])], [TensorSpec("output-0", "FP32", [-1, 3])]),
        ("scripted.torchscript", [], []),
        ("exported.pt2", [TensorSpec("flowers", "FP32", [-1, 4])], [TensorSpec("output-0", "FP32", [-1, 3])]),
    ],
)
def test_the_metadata_are_what_the_file_tells(
    name: str, inputs: Any, outputs: Any, net: Net, configured: Configured, tmp_path: Path
) -> None:
    path = WRITERS[name](net, tmp_path / name)
    handler = load_handler(configured(str(path), "torch"))
    assert (handler.inputs, handler.outputs) == (inputs, outputs)


def test_inputs_that_func_yaml_declares_are_the_metadata_and_are_checked(net: Net, ask: Ask, tmp_path: Path) -> None:
    asked = ask(script(net, tmp_path / "m.pt", traced=False), signature=Signature(inputs=[INPUT]))
    _, metadata = asked.ask("GET", "/v2/models/iris")
    assert metadata["inputs"] == [{"name": "flowers", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["outputs"] == [{"name": "output-0", "datatype": "FP32", "shape": [-1, 3]}]
    assert metadata["parameters"]["accelerator"] == "cpu"
    assert asked.ask("POST", "/v1/models/iris:predict", {"instances": [[1.0]]})[0] == 400


def test_a_class_is_made_with_the_arguments_in_config_json(ask: Ask, tmp_path: Path) -> None:
    wide = Net(5).eval()
    path = weights(wide, tmp_path / "m.safetensors")
    (tmp_path / "config.json").write_text('{"width": 5}')
    assert v2(ask(path)).shape == (2, 5)


def test_steps_beside_the_class_are_used(net: Net, expected: Any, ask: Ask, tmp_path: Path) -> None:
    steps = "def postprocess(outputs):\n    return {'best': outputs['output-0'].argmax(1)}\n"
    asked = ask(weights(net, tmp_path / "m.pt", CLASS + steps))
    assert v2(asked).tolist() == expected.argmax(1).tolist()


def test_a_folder_of_weights_and_class_is_served_where_func_yaml_says_torch(
    net: Net, configured: Configured, tmp_path: Path
) -> None:
    weights(net, tmp_path / "model.safetensors")
    handler = load_handler(configured(str(tmp_path / "model.safetensors"), "torch"))
    assert handler.platform == "pytorch"


def test_bf16_goes_in_and_out(ask: Ask, tmp_path: Path) -> None:
    half = Net().eval().to(torch.bfloat16)
    both = Signature(
        inputs=[TensorDeclaration(name="flowers", datatype="BF16", shape=[-1, 4])],
        outputs=[TensorDeclaration(name="classes", datatype="BF16", shape=[-1, 3])],
    )
    path = weights(half, tmp_path / "m.safetensors", CLASS.replace("torch.tensor(2.0)", "torch.tensor(2.0).bfloat16()"))
    assert np.shape(v1(ask(path, signature=both))) == (2, 3)


PAIR = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
    def forward(self, minuend, subtrahend=None):
        return (minuend - (0 if subtrahend is None else subtrahend)) * self.weight
"""


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (("minuend", "subtrahend"), [5.0]),
        (("subtrahend", "minuend"), [-5.0]),
        (("a", "b"), [5.0]),
        (("minuend",), [7.0]),
        (("subtrahend",), "the model's inputs are minuend, subtrahend, in this order; given are subtrahend"),
        (("minuend", "b"), "the model's inputs are minuend, subtrahend, in this order; given are minuend, b"),
    ],
)
def test_inputs_go_by_the_modules_names_or_by_position_and_never_by_both(
    names: tuple[str, ...], answer: Any, ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "handler.py").write_text(PAIR)
    torch.save({"weight": torch.ones(1)}, tmp_path / "m.pt")
    numbers = [
        {"name": name, "shape": [1], "datatype": "FP32", "data": [n]} for name, n in zip(names, (7.0, 2.0), strict=False)
    ]
    status, told = ask(tmp_path / "m.pt").infer(*numbers)
    assert (told["outputs"][0]["data"] if status == 200 else told["error"]) == answer


def test_texts_for_a_module_of_numbers_are_the_callers_fault(net: Net, ask: Ask, tmp_path: Path) -> None:
    asked = ask(script(net, tmp_path / "m.pt", traced=False))
    status, answer = asked.infer({"name": "flowers", "shape": [1], "datatype": "BYTES", "data": ["a"]})
    assert (status, answer["error"]) == (400, "this model takes numbers: PyTorch has no tensors of strings")


class Waves(torch.nn.Module):  # type: ignore[misc]
    """Answers with complex numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.complex(x, x)


def test_a_type_that_the_protocols_have_not_is_refused(configured: Configured, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Waves(), (torch.ones(2),)), tmp_path / "m.pt2")
    with pytest.raises(ModelLoadError, match=r"output-0 is of torch\.complex64, which the protocols cannot carry"):
        load_handler(configured(str(tmp_path / "m.pt2"), "torch"))


# ---- what is refused


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run by a pickle",)


def test_a_whole_pickled_model_is_refused_before_it_runs_anything(
    net: Net, configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weights": net.state_dict(), "evil": Evil()}, tmp_path / "m.pt")
    with pytest.raises(ModelLoadError, match=r"m\.pt: only weights are read, and opening the rest could run code: .*print"):
        load_handler(configured(str(tmp_path / "m.pt"), "torch"))
    assert "run by a pickle" not in capsys.readouterr().out


def rewrite(path: Path, changes: Callable[[str, bytes], bytes]) -> Path:
    """The archive with other contents."""
    target = path.with_name(f"changed{path.suffix}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, changes(name, old.read(name)))
    return target


def pickled_constant(name: str, content: bytes) -> bytes:
    if not name.endswith("constants_config.json"):
        return content
    return json.dumps({"config": {"c": {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}}}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled_constant, "constants_config.json: {'path_name': 'opaque_obj_0'"),
        (
            lambda name, content: pickle.dumps(Evil()) if "sample_inputs" in name else content,
            "it holds data/sample_inputs/model.pt",
        ),
        (
            lambda name, content: content.replace(b"torch.ops.aten.softmax.int", b"torch.os.system"),
            "the operator 'torch.os.system'",
        ),
        (
            lambda name, content: content.replace(b"\"Symbol('s", b"\"exit() or Symbol('s") if "models/" in name else content,
            'the size "exit() or Symbol(',
        ),
    ],
    ids=["constant", "sample", "operator", "expression"],
)
def test_an_exported_program_that_would_run_code_is_refused(
    change: Any, message: str, net: Net, configured: Configured, tmp_path: Path
) -> None:
    path = rewrite(program(net, tmp_path / "m.pt2"), change)
    with pytest.raises(ModelLoadError) as caught:
        load_handler(configured(str(path), "torch"))
    assert f"{path}: opening it could run code: it holds" in caught.value.message
    assert message in caught.value.message


def archive(contents: dict[str, bytes], padding: int = 0) -> tuple[bytes, bytes, bytes]:
    """A zip archive: its files, its directory, its end."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.comment = b" " * padding if name == next(iter(contents)) else b""
            file.writestr(info, content)
    whole = written.getvalue()
    (begin,) = struct.unpack("<I", whole[-6:-2])
    return whole[:begin], whole[begin:-22], whole[-22:]


def two_faced(shown: dict[str, bytes], hidden: dict[str, bytes]) -> bytes:
    """An archive of `shown` for PyTorch's reader, and of `hidden` for zipfile: that takes the directory before the end."""
    longer = len(archive(hidden)[1]) - len(archive(shown)[1])
    files, directory, end = archive(shown, max(longer, 0))
    others, other, _ = archive(hidden, max(-longer, 0))
    moved, at, shift = bytearray(other), 0, len(files) - len(others)
    while at < len(moved):
        lengths = struct.unpack("<3H", moved[at + 28 : at + 34])
        moved[at + 42 : at + 46] = struct.pack("<I", struct.unpack("<I", moved[at + 42 : at + 46])[0] + shift)
        at += 46 + sum(lengths)
    return files + directory + others + bytes(moved) + end


def test_a_program_that_only_another_reader_of_archives_finds_is_not_opened(
    net: Net, configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = torch._C.PyTorchFileReader(str(program(net, tmp_path / "good.pt2"))).get_record("models/model.json")
    pickled = io.BytesIO()
    torch.save({"weights": Evil()}, pickled)
    hidden = {"version": ".".join(map(str, SCHEMA_VERSION)).encode(), "serialized_exported_program.json": graph}
    hidden |= {f"serialized_{name}.pt": pickled.getvalue() for name in ("state_dict", "constants", "example_inputs")}
    shown = {"archive/archive_format": b"pt2", "archive/archive_version": b"0", "archive/.data/version": b"3"}
    shown["archive/data/weights/weight_0"] = bytes(2 * sum(map(len, hidden.values())))
    path = tmp_path / "m.pt2"
    path.write_bytes(two_faced(shown, hidden))
    with pytest.raises(ModelLoadError, match=r"m\.pt2: torch cannot open it: it holds no program"):
        load_handler(configured(str(path), "torch"))
    assert "run by a pickle" not in capsys.readouterr().out


def test_a_trusted_pickle_whose_class_is_not_here_is_refused_with_the_way(configured: Configured, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"net": Net()}, path)
    path = rewrite(path, lambda name, content: content.replace(b"test_torch", b"test_other"))
    trusted = configured(str(path), "torch", trust=True, digest=digest(path))
    with pytest.raises(ModelLoadError, match=r"changed\.pt: torch cannot open it: .*: save model\.state_dict\(\) instead"):
        load_handler(trusted)


@pytest.mark.parametrize("name", WRITERS)
def test_half_a_file_is_refused_with_its_name(name: str, net: Net, configured: Configured, tmp_path: Path) -> None:
    path = WRITERS[name](net, tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelLoadError, match=f"^{path}: "):
        load_handler(configured(str(path), "torch"))


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (None, r"m\.pt: holds weights without their model: put a handler\.py with its class beside it"),
        ("x = 1", r"handler\.py: one class derived from torch\.nn\.Module, or one named Model, is expected; found: none"),
        (CLASS.replace("Linear(4", "Linear(9"), r"handler\.py: RuntimeError: Error\(s\) in loading state_dict"),
        (CLASS + "class Other(Net): ...", r"handler\.py: .*found: Net, Other|^$"),
        ("import no_such", r"handler\.py:1: ModuleNotFoundError"),
    ],
)
def test_weights_without_a_fitting_class_are_refused(
    handler: str | None, message: str, net: Net, configured: Configured, tmp_path: Path
) -> None:
    path = weights(net, tmp_path / "m.pt", handler or "")
    if handler is None:
        (tmp_path / "handler.py").unlink()
    if handler and "Other" in handler:
        path.parent.joinpath("handler.py").write_text(handler.replace("class Net", "class First").replace("(Net)", "(First)"))
        message = "found: First, Other"
    with pytest.raises(ModelLoadError, match=message):
        load_handler(configured(str(path), "torch"))


# ---- devices and memory


def test_cuda_that_is_demanded_and_not_there_is_refused_with_the_cause(
    net: Net, configured: Configured, tmp_path: Path
) -> None:
    path = script(net, tmp_path / "m.pt", traced=True)
    with pytest.raises(ModelLoadError, match=r"accelerator cuda is not available: (no NVIDIA GPU here|torch .* without cuda)"):
        load_handler(configured(str(path), "torch", accelerator="cuda"))


def test_auto_takes_the_cpu_and_knows_why(net: Net, configured: Configured, tmp_path: Path) -> None:
    path = script(net, tmp_path / "m.pt", traced=True)
    choice = load_handler(configured(str(path), "torch", accelerator="auto")).choice
    assert choice is not None
    assert (choice.accelerator, choice.tells_why) == ("cpu", False)
    assert "cuda: no NVIDIA GPU here" in choice.why


MEMORY = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
    def forward(self, flowers):
        if len(flowers) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.layer(flowers)
"""


def test_a_call_without_memory_is_503_with_retry_after_and_the_next_one_is_answered(net: Net, ask: Ask, tmp_path: Path) -> None:
    asked = ask(weights(net, tmp_path / "m.pt", MEMORY))
    status, answer = asked.ask("POST", "/v1/models/iris:predict", {"instances": ROWS})
    assert (status, answer["error"]) == (503, "the accelerator's memory is full; try again later, or with fewer rows")
    assert b"retry-after" in asked.headers.lower()
    assert asked.ask("POST", "/v1/models/iris:predict", {"instances": ROWS[:1]})[0] == 200
