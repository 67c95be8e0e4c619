"""PyTorch beside its runtime: attributions by captum, and `kfunc convert`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kfunc.config.explain import Explain
from kfunc.conversion.flow import Wish, convert
from kfunc.conversion.libraries import Libraries
from tests.runtimes.served import Served

Serve = Callable[..., Served]

ROWS = np.random.default_rng(7).normal(size=(4, 3)).astype(np.float32)
LINEAR = torch.nn.Linear(3, 2, bias=False)
NET = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()


def scripted(folder: Path, module: Any) -> Path:
    torch.jit.save(torch.jit.trace(module, torch.zeros(2, 3)), folder / "m.pt")
    return folder / "m.pt"


def exported(folder: Path, module: Any) -> Path:
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3),), dynamic_shapes=shapes), folder / "m.pt2")
    return folder / "m.pt2"


@pytest.mark.parametrize("save", [scripted, exported])
@pytest.mark.parametrize("attribution", ["integrated-gradients", "input-x-gradient", "feature-ablation"])
def test_attributions_of_a_linear_model_are_its_terms(serve: Serve, tmp_path: Path, save: Any, attribution: Any) -> None:
    model = serve(save(tmp_path, LINEAR), explain=Explain(method="captum", attribution=attribution))
    (name,) = model.metadata()["inputs"]
    status, answer = model.caller.ask("POST", "/v1/models/iris:explain", {"instances": ROWS.tolist()})
    assert status == 200, answer
    told = answer["explanations"]
    about = LINEAR(torch.from_numpy(ROWS)).argmax(dim=1).numpy()
    assert told["columns"] == about.tolist()
    assert np.allclose(told[name], ROWS * LINEAR.weight.detach().numpy()[about], atol=1e-5)


@pytest.mark.parametrize("save", [scripted, exported])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_converted_network_answers_as_the_original(tmp_path: Path, save: Any, precision: str) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    path = save(tmp_path, NET)
    wish = Wish(path, "torch", tmp_path / "m.onnx", tmp_path / "rows.npy", precision, 17, 0.1, False)
    told = convert(wish, lambda line: None, Libraries())
    assert told.good
    assert told.differences[0].rows == len(ROWS)
    assert (tmp_path / "m.onnx").exists()


class Weighted(torch.nn.Module):  # type: ignore[misc]
    """Its inputs count differently."""

    def forward(self, first: Any, second: Any) -> Any:
        return (2 * first + 30 * second).sum(1)


def test_inputs_in_another_order_are_explained_by_their_names(serve: Serve, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(Weighted(), (torch.zeros(2, 3), torch.zeros(2, 3))), tmp_path / "m.pt")
    model = serve(tmp_path / "m.pt", explain=Explain(method="captum", attribution="input-x-gradient"))
    told = {name: {"name": name, "shape": [1, 3], "datatype": "FP32", "data": [1, 1, 1]} for name in ("second", "first")}
    status, answer = model.caller.ask("POST", "/v2/models/iris/explain", {"inputs": list(told.values())})
    assert status == 200, answer
    found = {each["name"]: each["data"] for each in answer["outputs"]}
    assert (found["first"], found["second"]) == ([2.0] * 3, [30.0] * 3)


def test_bf16_is_explained(serve: Serve, tmp_path: Path) -> None:
    half = torch.nn.Linear(3, 2, bias=False).to(torch.bfloat16)
    torch.jit.save(torch.jit.trace(half, torch.zeros(2, 3, dtype=torch.bfloat16)), tmp_path / "m.pt")
    model = serve(tmp_path / "m.pt", explain=Explain(method="captum", attribution="input-x-gradient"))
    (name,) = model.metadata()["inputs"]
    status, answer = model.caller.ask("POST", "/v1/models/iris:explain", {"instances": ROWS.tolist()})
    assert status == 200, answer
    assert np.shape(answer["explanations"][name]) == (4, 3)


def test_a_sample_in_another_order_is_given_by_name(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(Weighted(), (torch.zeros(2, 3), torch.zeros(2, 3))), tmp_path / "m.pt")
    np.savez(tmp_path / "rows.npz", second=ROWS, first=ROWS)
    wish = Wish(tmp_path / "m.pt", "torch", tmp_path / "m.onnx", tmp_path / "rows.npz", "fp32", 17, 1e-4, False)
    told = convert(wish, lambda line: None, Libraries())
    assert told.good
