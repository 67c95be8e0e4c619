"""`kfunc import-kserve` as a user runs it: files in, folders with a func.yaml out, a report."""

import io
import json
from pathlib import Path

import pytest

from kfunc.config.load import load_function
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris}
spec: {predictor: {minReplicas: 0, model: {modelFormat: {name: onnx}, storageUri: 'pvc://models/iris'}}}
"""
LIST = (
    "kind: List\nitems:\n- kind: InferenceService\n  metadata: {name: one}\n- kind: InferenceService\n  metadata: {name: two}\n"
)


def file(folder: Path, text: str) -> Path:
    path = folder / "services.yaml"
    path.write_text(text)
    return path


def test_the_documentation_shows_what_the_command_says(kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = (ROOT / "docs/from-kserve.md").read_text()
    (tmp_path / "iris.yaml").write_text(document.split("```yaml\n")[1].split("```")[0])
    console = document.split("```console\n")[1].split("\n$ kubectl")[0]
    monkeypatch.chdir(tmp_path)
    result = kfunc(*console.splitlines()[0].split()[2:])
    assert (result.status, result.out) == (0, console.split("\n", 1)[1] + "\n")


def test_each_service_of_a_list_gets_a_folder(kfunc: Command, tmp_path: Path) -> None:
    kfunc("import-kserve", file(tmp_path, LIST), "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one", "two"}


def test_two_services_of_one_name_do_not_write_over_each_other(kfunc: Command, tmp_path: Path) -> None:
    result = kfunc("import-kserve", file(tmp_path, LIST.replace("two", "one")), "-o", tmp_path / "out")
    assert (result.status, "one/func.yaml: give those of one namespace at a time" in result.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_stdin_is_read(kfunc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SERVICE.encode())))
    assert kfunc("import-kserve", "-", "-o", tmp_path).status == 0
    assert load_function(tmp_path / "iris/func.yaml").inference.model.uri == "pvc://models/iris"


def test_a_func_yaml_that_is_there_stays_unless_forced(kfunc: Command, tmp_path: Path) -> None:
    source = file(tmp_path, SERVICE)
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris/func.yaml").write_text("mine")
    result = kfunc("import-kserve", source, "-o", tmp_path)
    assert (result.status, "--force overwrites it" in result.err) == (2, True)
    assert (tmp_path / "iris/func.yaml").read_text() == "mine"
    assert kfunc("import-kserve", source, "-o", tmp_path, "--force").status == 0


def test_what_needs_a_hand_is_said_with_its_line_and_exit_status_1(kfunc: Command, tmp_path: Path) -> None:
    result = kfunc("import-kserve", file(tmp_path, SERVICE.replace("pvc://models/iris", "ftp://x/y")), "-o", tmp_path)
    assert result.status == 1
    assert "to mend: line 11: inference.model.uri" in result.out


def test_the_report_for_programs_is_json(kfunc: Command, tmp_path: Path) -> None:
    more = f"{SERVICE}---\nkind: InferenceGraph\nmetadata: {{name: g}}\n"
    report = json.loads(kfunc("import-kserve", file(tmp_path, more), "-o", tmp_path, "--output", "json").out)
    assert report == {
        "functions": [{"name": "iris", "file": f"{tmp_path}/iris/func.yaml", "notes": [], "problems": []}],
        "ignored": ["InferenceGraph g"],
    }


def test_what_is_ignored_is_said_with_the_reason(kfunc: Command, tmp_path: Path) -> None:
    more = f"{SERVICE}---\nkind: InferenceGraph\nmetadata: {{name: g}}\n---\nkind: Service\nmetadata: {{name: s}}\n"
    out = kfunc("import-kserve", file(tmp_path, more), "-o", tmp_path).out
    assert "ignored: InferenceGraph g: kfunc has no graphs" in out
    assert "ignored: Service s: only InferenceService" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: 1}", "has no InferenceService: kubectl get"),
        ("", "has no InferenceService"),
        ("kind: Service\nmetadata: {name: x}\n", "has no InferenceService (found Service x)"),
        ("a: [", "is not YAML"),
        ("a: 1\na: 2\n", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_file_that_holds_no_service_is_refused(kfunc: Command, tmp_path: Path, text: str, message: str) -> None:
    result = kfunc("import-kserve", file(tmp_path, text), "-o", tmp_path)
    assert (result.status, message in result.err) == (2, True)


def test_a_file_that_is_not_there_is_said(kfunc: Command, tmp_path: Path) -> None:
    assert "cannot read" in kfunc("import-kserve", tmp_path / "none.yaml").err


@pytest.mark.parametrize("name", ["", "../x", ".", "a/b"])
def test_a_service_that_no_folder_can_be_called_after_is_named_and_the_others_are_written(
    kfunc: Command, tmp_path: Path, name: str
) -> None:
    bad = f"---\nkind: InferenceService\nmetadata: {{name: '{name}'}}\n"
    result = kfunc("import-kserve", file(tmp_path, SERVICE + bad), "-o", tmp_path / "out")
    assert (result.status, f'"{name}"' in result.err) == (1, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["iris"]


@pytest.mark.parametrize("spec", ["5", "{}", "{predictor: {model: {modelFormat: {name: onnx}}}}"])
def test_a_service_without_a_model_needs_a_hand(kfunc: Command, tmp_path: Path, spec: str) -> None:
    text = f"kind: InferenceService\nmetadata: {{name: iris}}\nspec: {spec}\n"
    result = kfunc("import-kserve", file(tmp_path, text), "-o", tmp_path)
    assert (result.status, "to mend" in result.out and "inference.model" in result.out) == (1, True)


def test_standard_input_is_called_so(kfunc: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: [")))
    assert "standard input is not YAML" in kfunc("import-kserve", "-").err


def test_names_of_the_file_steer_no_terminal(kfunc: Command, tmp_path: Path) -> None:
    text = SERVICE.replace("minReplicas: 0", '"\\e[2J": 1, minReplicas: 0') + '---\nkind: "\\e[2J"\n'
    result = kfunc("import-kserve", file(tmp_path, text), "-o", tmp_path)
    assert "\x1b" not in result.out
    assert "spec.predictor.\\x1b[2J" in result.out or "spec.predictor.\\u001b[2J" in result.out
