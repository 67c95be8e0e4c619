"""What lies in a folder → models, versions, runtimes."""

from pathlib import Path

import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers.layout import detect, find_models


def lay(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"") if not file.endswith("/") else path.mkdir(exist_ok=True)
    return root


def found(root: Path, runtime: str = "auto", *, code: bool = True) -> list[str]:
    models = find_models(root, "flowers", "7", runtime, code=code)
    return [f"{each.name} {each.version} {each.path.relative_to(root)} {each.runtime}" for each in models]


@pytest.mark.parametrize(
    ("files", "models"),
    [
        (["handler.py"], ["flowers 7 . python"]),
        (["handler.py", "weights.onnx", "1/model.onnx"], ["flowers 7 . python"]),
        (["m.onnx", "m.onnx.data", "README.md"], ["flowers 7 m.onnx onnx"]),
        (["model.onnx", "other.onnx"], ["flowers 7 model.onnx onnx"]),
        (["M.SKOPS"], ["flowers 7 M.SKOPS sklearn"]),
        (
            ["10/model.onnx", "9/model.onnx", "1/handler.py"],
            ["flowers 1 1 python", "flowers 9 9/model.onnx onnx", "flowers 10 10/model.onnx onnx"],
        ),
        (
            ["wine/2/m.skops", "wine/1/m.skops", "iris/model.onnx", ".git/x", "__pycache__/x", "README.md"],
            ["iris 7 iris/model.onnx onnx", "wine 1 wine/1/m.skops sklearn", "wine 2 wine/2/m.skops sklearn"],
        ),
        (["iris/handler.py", "iris/1/model.onnx"], ["iris 7 iris python"]),
        (["0/model.onnx", "01/model.onnx"], ["0 7 0/model.onnx onnx", "01 7 01/model.onnx onnx"]),  # names, no versions
    ],
)
def test_a_folder_is_a_model_its_versions_or_several_models(tmp_path: Path, files: list[str], models: list[str]) -> None:
    assert found(lay(tmp_path, *files)) == models


@pytest.mark.parametrize(
    ("files", "runtime", "models"),
    [
        (["handler.py", "m.onnx"], "onnx", ["flowers 7 m.onnx onnx"]),
        (["1/m.skops", "1/m.onnx"], "sklearn", ["flowers 1 1/m.skops sklearn"]),
        (["distance.py"], "python", ["flowers 7 distance.py python"]),
    ],
)
def test_a_runtime_of_func_yaml_finds_only_its_own_files(
    tmp_path: Path, files: list[str], runtime: str, models: list[str]
) -> None:
    assert found(lay(tmp_path, *files), runtime) == models


def test_what_lies_beside_a_file_that_is_named_model_is_told(tmp_path: Path) -> None:
    lay(tmp_path, "model.onnx", "a.onnx", "b.onnx", "notes.txt")
    assert detect(tmp_path)[1] == "the folder holds model.onnx; a.onnx, b.onnx beside it are not served"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no model; handler.py, "),
        (["a.onnx", "b.onnx"], "holds several models: a.onnx, b.onnx; name the one that is meant at model.uri"),
        (["b.onnx", "1/a.onnx"], "holds a model, b.onnx, and versions, 1; name the one that is meant at model.uri"),
        (["1/model.onnx", "2/"], "2: holds no model; "),
        (["m.tar.gz"], "m.tar.gz: is an archive; only what is fetched is unpacked: unpack it (tar xf, unzip), and name the"),
        (["iris/1/a.onnx", "iris/1/b.skops"], "1: holds several models: a.onnx, b.skops"),
        (["iris/model.onnx", "notes/x.txt"], "notes: holds no model; "),
        (["net.params"], "net.params: MXNet is not maintained any more: export the model to ONNX"),
        (["a b/model.onnx"], "a b: a model's name has at most 128 letters, digits, '-', '_' and '.'"),
    ],
)
def test_a_folder_that_leaves_it_open_is_refused_with_its_path(tmp_path: Path, files: list[str], message: str) -> None:
    lay(tmp_path, *files)
    with pytest.raises(ModelLoadError) as caught:
        found(tmp_path)
    assert message in caught.value.message
    assert caught.value.message.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "runtime", "models"),
    [
        (["handler.py", "tokenizer_config.json"], "auto", ["flowers 7 . huggingface"]),
        (["handler.py", "m.onnx"], "auto", ["flowers 7 m.onnx onnx"]),
        (["handler.py", "MLmodel"], "python", ["flowers 7 . python"]),
        (["handler.py", "m.safetensors"], "torch", ["flowers 7 m.safetensors torch"]),
    ],
)
def test_a_handler_py_from_elsewhere_is_a_model_only_where_func_yaml_says_so(
    tmp_path: Path, files: list[str], runtime: str, models: list[str]
) -> None:
    assert found(lay(tmp_path, *files), runtime, code=False) == models


@pytest.mark.parametrize("files", [["handler.py"], ["handler.py", "m.safetensors"], ["1/handler.py"], ["a/handler.py"]])
def test_a_handler_py_from_elsewhere_is_refused_where_it_would_run(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(ModelLoadError, match=r"holds a handler.py, which comes from elsewhere and would be run: "):
        found(lay(tmp_path, *files), code=False)


@pytest.mark.parametrize(
    ("files", "answer"),
    [
        (["handler.py"], ("python", "the folder holds a handler.py")),
        (["m.onnx"], ("onnx", "the folder holds m.onnx")),
        (["1/m.onnx", "2/m.onnx"], ("onnx", "the folder holds 2 models or versions of it")),
        (["a/m.onnx", "b/m.skops"], ("auto", "the folder holds models of onnx and sklearn")),
    ],
)
def test_the_runtime_of_a_folder_is_found_inside_it(tmp_path: Path, files: list[str], answer: tuple[str, str]) -> None:
    assert detect(lay(tmp_path, *files)) == answer


def test_a_link_to_nothing_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.symlink_to(file)
    with pytest.raises(ModelLoadError, match=r"there is no such model file"):
        find_models(file, "iris", "1")


def test_why_a_runtime_was_chosen_is_told_of_each_model(tmp_path: Path) -> None:
    (lay(tmp_path, "a/m.onnx", "b/handler.py", "c/model.json", "d/MLmodel") / "c/model.json").write_text('{"learner": 1}')
    assert {each.name: (each.runtime, each.why) for each in find_models(tmp_path, "iris", "1")} == {
        "a": ("onnx", "the folder holds m.onnx"),
        "b": ("python", "the folder holds a handler.py"),
        "c": ("xgboost", "the folder holds model.json, and the file begins as a model of xgboost"),
        "d": ("mlflow", "the folder holds MLmodel"),
    }
    (given,) = find_models(tmp_path / "a/m.onnx", "iris", "1", "onnx")
    assert given.why == "as func.yaml says"
