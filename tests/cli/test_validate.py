import json
from pathlib import Path

import pytest

from tests.cli.conftest import FUNC_YAML, Command


def test_a_valid_file_is_one_line_that_names_the_runtime_and_the_processes(kfunc: Command, folder: Path) -> None:
    assert kfunc("validate", folder) == (
        0,
        f"{folder}/func.yaml is valid: iris, ./model.onnx with onnx (the name ends in .onnx); processes: logger, handler\n",
        "",
    )


def test_a_valid_file_has_no_problems_in_json(kfunc: Command, folder: Path) -> None:
    told = json.loads(kfunc("validate", folder, "--output", "json").out)
    models = [{"name": "iris", "uri": "./model.onnx", "runtime": "onnx", "why": "the name ends in .onnx"}]
    assert told == {"valid": True, "problems": [], "needs": [], "models": models}


def test_what_the_cluster_must_allow_is_told_with_the_command_that_does(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML + "  scheduling: {node_selector: {disktype: ssd}}\n  scaling: {initial: 0}\n")
    lines = kfunc("validate", folder).out.splitlines()[1:]
    assert lines == [
        "inference.scheduling.node_selector needs Knative's feature kubernetes.podspec-nodeselector:",
        "  kubectl patch configmap config-features -n knative-serving --type merge "
        """-p '{"data":{"kubernetes.podspec-nodeselector":"enabled"}}'""",
        "inference.scaling.initial: 0 needs Knative's setting allow-zero-initial-scale:",
        "  kubectl patch configmap config-autoscaler -n knative-serving --type merge "
        """-p '{"data":{"allow-zero-initial-scale":"true"}}'""",
    ]
    needs = json.loads(kfunc("validate", folder, "--output", "json").out)["needs"]
    assert [need["command"].split()[3] for need in needs] == ["config-features", "config-autoscaler"]


@pytest.mark.parametrize(
    "more", ["  server: {kind: triton, image: example.com/triton:1, sidecar_image: example.com/kfunc:1}\n", ""]
)
def test_a_model_that_only_the_cluster_has_is_not_looked_for(kfunc: Command, folder: Path, more: str) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", "pvc://models/iris") + more)
    assert kfunc("validate", folder).status == 0


@pytest.mark.parametrize("residency", ["  residency: {}\n", ""])
def test_a_folder_without_a_model_is_one_model_s_problem_where_models_are_loaded_on_demand(
    kfunc: Command, folder: Path, residency: str
) -> None:
    (folder / "all/empty").mkdir(parents=True)
    (folder / "all/iris").mkdir()
    (folder / "model.onnx").rename(folder / "all/iris/model.onnx")
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", "./all") + residency)
    result = kfunc("validate", folder)
    assert (result.status, "all/empty: holds no model" in result.err) == ((0, False) if residency else (2, True))


@pytest.mark.parametrize("more", [", runtime: onnx", ", warmup: {shapes: {x: [1, 4]}}, runtime: onnx", ""])
def test_a_folder_without_a_model_is_a_problem_at_its_uri_whatever_runs_it(kfunc: Command, folder: Path, more: str) -> None:
    (folder / "models").mkdir()
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", f"./models{more}"))
    (problem,) = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (6, 16, "inference.model.uri")
    assert "holds no model" in problem["message"]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("./model.onnx", "./model.onnx, warmup: {file: ./one.json}", "inference.model.warmup.file"),
        ("  logger: {}", "  explain: {method: lime, background: one.json}", "inference.explain.background"),
        ("  logger: {}", "  images: {labels: one.json}", "inference.images.labels"),
        (
            "  logger: {}",
            "  models: [{name: b, uri: ./model.onnx, warmup: {file: one.json}}]",
            "inference.models[0].warmup.file",
        ),
    ],
)
def test_a_file_beside_the_model_that_is_not_there_is_a_problem(
    kfunc: Command, folder: Path, old: str, new: str, path: str
) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace(old, new))
    problems = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert [(each["path"], each["message"]) for each in problems] == [(path, f"there is no file {folder}/one.json")]
    (folder / "one.json").touch()
    assert kfunc("validate", folder).status == 0


def test_a_path_out_of_the_folder_is_one_problem(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", "images: {labels: ../none.txt}"))
    problems = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert [each["path"] for each in problems] == ["inference.images.labels"]


def test_the_file_itself_can_be_named(kfunc: Command, folder: Path) -> None:
    assert kfunc("validate", folder / "func.yaml").status == 0


def test_a_model_that_is_not_there_is_a_problem_with_its_place(kfunc: Command, folder: Path) -> None:
    (folder / "model.onnx").unlink()
    result = kfunc("validate", folder)
    assert result.status == 2
    assert f"{folder}/func.yaml:6:16: inference.model.uri: there is no {folder}/model.onnx" in result.err


def test_a_missing_model_is_reported_beside_other_problems_in_the_order_of_the_file(kfunc: Command, folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "func.yaml").write_text(FUNC_YAML.replace("name: iris", "nam: iris").replace("logger: {}", "logger: {mode: al}"))
    problems = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert [(problem["line"], problem["path"]) for problem in problems] == [
        (2, "nam"),
        (6, "inference.model.uri"),
        (7, "inference.logger.mode"),
    ]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("./model.params", "MXNet is not maintained"),
        ("./model.bin", "no runtime reads such a file"),
        ("../model.onnx", "leaves the function's folder"),
        ("ftp://host/model.onnx", "not supported"),
        ("''", "not empty"),
        ("[1]", "a string"),
        ("./model.pkl", "pickle"),
    ],
)
def test_a_model_that_cannot_be_read_is_one_problem_at_its_uri(kfunc: Command, folder: Path, uri: str, words: str) -> None:
    (folder / "model.pkl").write_bytes(b"")
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", uri))
    (problem,) = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (6, 16, "inference.model.uri")
    assert words in problem["message"]


def test_a_runtime_that_is_given_decides_whatever_the_name(kfunc: Command, folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"")
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", "./model.bin, runtime: onnx"))
    assert "./model.bin with onnx (as func.yaml says)" in kfunc("validate", folder).out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (b"\x00\x01\xff", ""),
        (b"- a\n- b\n", "mapping"),
        (b"a: &a [*a]\n", ""),
        (b"inference: nothing\n", "mapping"),
        (b"inference: {model: {uri: [}}\n", ""),
    ],
)
def test_what_is_no_func_yaml_is_refused_without_a_traceback(kfunc: Command, tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "func.yaml").write_bytes(text)
    result = kfunc("validate", tmp_path)
    assert result.status == 2
    assert words in result.err


def test_a_folder_without_func_yaml_is_told_how_to_get_one(kfunc: Command, tmp_path: Path) -> None:
    assert kfunc("validate", tmp_path) == (
        2,
        "",
        f"error: {tmp_path}/func.yaml does not exist; `kfunc init {tmp_path}` writes one\n",
    )


MORE = """\
  models:
    - {name: wine, uri: ./wine}
    - {name: rose, uri: 's3://models/rose.zip'}
    - {name: lily, uri: 's3://models/lily', runtime: onnx}
"""


def test_what_runs_each_model_is_told_with_the_reason(kfunc: Command, folder: Path) -> None:
    (folder / "wine").mkdir()
    (folder / "wine/handler.py").write_text("")
    (folder / "func.yaml").write_text(FUNC_YAML + MORE)
    assert kfunc("validate", folder).out.splitlines()[1:] == [
        "model wine: ./wine with python (the folder holds a handler.py)",
        "model rose: s3://models/rose.zip with auto "
        "(an archive: the handler's log says which runtime, and why, when it has the files)",
        "model lily: s3://models/lily with onnx (as func.yaml says)",
    ]


def test_a_further_model_that_is_not_there_is_a_problem_too(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML + MORE.replace("./wine", "./wine.onnx"))
    result = kfunc("validate", folder)
    assert result.status == 2
    assert f"{folder}/func.yaml:9:25: inference.models[0].uri: there is no {folder}/wine.onnx" in result.err


@pytest.mark.parametrize(
    ("more", "path", "message", "suggestion"),
    [
        (
            "residency: {pinned: [nobody]}",
            "inference.residency.pinned[0]",
            'there is no model "nobody"',
            "the models are iris, wine",
        ),
        (
            "residency: {pinned: [iris, whine]}",
            "inference.residency.pinned[1]",
            'there is no model "whine"',
            'did you mean "wine"?',
        ),
        (
            "images: {choose: [{max_side: 9, model: whine}]}",
            "inference.images.choose[0].model",
            'there is no model "whine"',
            'did you mean "wine"?',
        ),
        ("residency: {pinned: [wine, iris]}", "", "", ""),
        ("images: {choose: [{max_side: 9, model: wine}]}", "", "", ""),
    ],
)
def test_a_name_that_means_a_model_is_that_of_one(
    kfunc: Command, folder: Path, more: str, path: str, message: str, suggestion: str
) -> None:
    (folder / "wine.onnx").write_bytes(b"")
    (folder / "func.yaml").write_text(FUNC_YAML + f"  models: [{{name: wine, uri: ./wine.onnx}}]\n  {more}\n")
    problems = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    expected = [(9, path, message, suggestion)] if path else []
    assert [(each["line"], each["path"], each["message"], each["suggestion"]) for each in problems] == expected


def test_of_a_place_elsewhere_that_may_hold_any_models_no_name_is_wrong(kfunc: Command, folder: Path) -> None:
    more = "  models: [{name: all, uri: 's3://models/all'}]\n  residency: {pinned: [nobody]}\n"
    (folder / "func.yaml").write_text(FUNC_YAML + more)
    assert kfunc("validate", folder).status == 0


IRIS = Path(__file__).parents[2] / "examples/iris/model.onnx"


@pytest.mark.parametrize(
    ("shapes", "message", "suggestion"),
    [
        ("{inputs: [1, 4]}", "the model has no such input", 'did you mean "input"?'),
        ("{input: [1, 5]}", "expected the shape of the model's input, [-1, 4] (-1: any size), found [1, 5]", ""),
        ("{input: [4]}", "expected the shape of the model's input, [-1, 4] (-1: any size), found [4]", ""),
        ("{input: [3, 4]}", "", ""),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_shapes_of_a_warm_up_are_those_of_the_onnx_file(
    kfunc: Command, folder: Path, shapes: str, message: str, suggestion: str, listed: bool
) -> None:
    (folder / "m.onnx").write_bytes(IRIS.read_bytes())
    model = f"uri: ./m.onnx, warmup: {{shapes: {shapes}}}"
    more = f"  models: [{{name: wine, {model}}}]\n" if listed else ""
    (folder / "func.yaml").write_text((FUNC_YAML if listed else FUNC_YAML.replace("uri: ./model.onnx", model)) + more)
    result = json.loads(kfunc("validate", folder, "--output", "json").out)
    name = shapes.strip("{").partition(":")[0]
    path = f"inference.{'models[0]' if listed else 'model'}.warmup.shapes.{name}"
    told = [(each["line"], each["path"], each["message"], each["suggestion"]) for each in result["problems"]]
    assert told == ([(8 if listed else 6, path, message, suggestion)] if message else [])


@pytest.mark.parametrize("chosen", [False, True])
def test_a_warm_up_of_so_many_pictures_is_for_models_that_take_them(kfunc: Command, folder: Path, chosen: bool) -> None:
    pictures(folder, "n", 3, 8, 8)
    warm_up = "warmup: {shapes: {pixels: [2]}}"
    images = f"{{size: [8, 8], choose: [{'{model: small, max_side: 64}' if chosen else ''}]}}"
    more = f"  models: [{{name: small, uri: ./m.onnx, {warm_up}}}]\n  images: {images}\n"
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", f"./m.onnx, {warm_up}") + more)
    told = [each["path"] for each in json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]]
    assert told == ([] if chosen else ["inference.models[0].warmup.shapes.pixels"])


def pictures(folder: Path, *shape: int | str) -> None:
    import onnx
    from onnx import TensorProto, helper

    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("pixels", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["y"])], "g", info[:1], info[1:])
    onnx.save(helper.make_model(graph), folder / "m.onnx")


@pytest.mark.parametrize(
    ("shape", "images", "path", "message", "suggestion"),
    [
        (["n", 3, 32, 48], "{size: [48, 32]}", "", "", ""),
        (["n", 3, 32, 48], "{}", "", "", ""),
        (
            *(["n", 3, 32, 48], "{size: [32, 48]}"),
            *("inference.images.size", "[32, 48] is not what the model takes, which is [48, 32] (-1: any)", "leave size out"),
        ),
        (
            *(["n", 3, "h", "w"], "{}"),
            *("inference.images.size", "the model takes any size", "say which its pictures are to have"),
        ),
        (
            *(["n", 32, 48, 3], "{color: gray}", "inference.images.color"),
            *("gray has 1 channels, and the model takes 3 (its shape is [-1, 32, 48, 3])", "correct color, or layout"),
        ),
        (
            *(["n", 4], "{}", "inference.images"),
            *("the model must have one input of four dimensions; it has pixels [-1, 4]", "remove images"),
        ),
    ],
)
def test_pictures_are_those_that_the_onnx_file_takes(
    kfunc: Command, folder: Path, shape: list[int | str], images: str, path: str, message: str, suggestion: str
) -> None:
    pictures(folder, *shape)
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", "./m.onnx") + f"  images: {images}\n")
    problems = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    told = [(each["line"], each["path"], each["message"], each["suggestion"]) for each in problems]
    assert told == ([(8, path, message, suggestion)] if path else [])


def test_a_model_that_pictures_may_go_to_must_take_them(kfunc: Command, folder: Path) -> None:
    pictures(folder, "n", 3, 32, 48)
    (folder / "wine.onnx").write_bytes(IRIS.read_bytes())
    more = "  models: [{name: wine, uri: ./wine.onnx}, {name: rose, uri: ./wine.onnx}]\n"
    text = FUNC_YAML.replace("./model.onnx", "./m.onnx") + more + "  images: {choose: [{max_side: 9, model: wine}]}\n"
    (folder / "func.yaml").write_text(text)
    (problem,) = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert problem["message"] == "the model wine must have one input of four dimensions; it has input [-1, 4]"


@pytest.mark.parametrize(("uri", "wrong"), [("./model.onnx", True), ("s3://b/m.cbm", False), ("s3://b/m.onnx", True)])
def test_outputs_are_chosen_only_of_a_runtime_that_can(kfunc: Command, folder: Path, uri: str, wrong: bool) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", f'"{uri}", outputs: [other]'))
    problems = json.loads(kfunc("validate", folder, "--output", "json").out)["problems"]
    assert [(each["line"], each["path"], each["message"]) for each in problems] == (
        [(6, "inference.model.outputs", "the runtime onnx answers with all outputs of a model")] if wrong else []
    )
