"""KServe's own client (`kserve.InferenceRESTClient`) against a function: every call that it has for V1 and V2.

It cannot stand beside our test packages (it needs cloudevents < 2), so that a script in an environment of its
own makes the calls; `make test` makes that environment.
"""

import json
import subprocess
from typing import Any

import pytest

from tests.conformance.serving import ROOT, Served

PYTHON = ROOT / ".venv-conformance/bin/python"
SCRIPT = ROOT / "tests/conformance/kserve_calls.py"

pytestmark = pytest.mark.integration

EXPECTED: dict[str, Any] = {
    "v1 live": True,
    "v1 model ready": True,
    "v1 request id": "call-7",
    "v2 live": True,
    "v2 ready": True,
    "v2 model ready": True,
    "v2 other model ready": False,
    "v2 infer": ["iris", "call-7", ["label", "probabilities"]],
    "v2 infer, one output": [["label", [2]]],
    "v2 infer, a dict": ["label", "probabilities"],
    "v2 infer, large": True,
    "v1 explain": {"explanations": [[1.0, 2.0]]},
}
REFUSED = {
    "v1 other model ready": (404, "rose"),
    "v1 predict, other model": (404, "rose"),
    "v1 predict, wrong rows": (400, "instances"),
    "v1 explain, none there": (501, "explain"),
    "v2 infer, other model": (404, "rose"),
    "v2 infer, wrong shape": (400, "shape"),
}
NUMBERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
DATA: dict[str, list[Any]] = {
    "BOOL": [True, False],
    **{datatype: [1, 100] for datatype in NUMBERS},
    "FP32": [0.5, -2.0],
    "FP64": [0.5, -2.0],
    "BYTES": ["flower", ""],
}


@pytest.fixture(scope="module")
def answers(served: Served) -> dict[str, Any]:
    """What each call gave, by its name."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.parent.parent.name} is missing: make test makes it")
    done = subprocess.run([PYTHON, SCRIPT, served.url], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("call", EXPECTED)
def test_a_call_is_answered(answers: dict[str, Any], call: str) -> None:
    assert answers[call] == EXPECTED[call]


@pytest.mark.parametrize("call", ["v1 predict", "v1 predict by the full address"])
def test_v1_predictions_come_for_each_row(answers: dict[str, Any], call: str) -> None:
    assert [row["label"] for row in answers[call]["predictions"]] == [2]


@pytest.mark.parametrize("call", REFUSED)
def test_a_wrong_call_is_refused_with_the_reason(answers: dict[str, Any], call: str) -> None:
    status, reason = REFUSED[call]
    assert answers[call]["status"] == status
    assert reason in answers[call]["reason"]


@pytest.mark.parametrize("given", ["binary", "json"])
@pytest.mark.parametrize("answered", ["binary", "json"])
@pytest.mark.parametrize("datatype", DATA)
def test_tensors_come_back_as_they_went(answers: dict[str, Any], datatype: str, given: str, answered: str) -> None:
    expected = {"name": "x", "datatype": datatype, "shape": [1, 2], "data": DATA[datatype]}
    assert answers[f"v2 {datatype} {given} {answered}"] == expected


def test_half_precision_comes_back_as_binary(answers: dict[str, Any]) -> None:
    assert answers["v2 FP16 binary binary"] == {"name": "x", "datatype": "FP16", "shape": [1, 2], "data": [0.5, -2.0]}


def test_every_call_of_the_script_is_looked_at(answers: dict[str, Any]) -> None:
    tensors = {f"v2 {each} {given} {answer}" for each in DATA for given in ("binary", "json") for answer in ("binary", "json")}
    predictions = {"v1 predict", "v1 predict by the full address"}
    assert answers.keys() == EXPECTED.keys() | REFUSED.keys() | predictions | tensors | {"v2 FP16 binary binary"}
