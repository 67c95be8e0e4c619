from pathlib import Path

import pytest

from kfunc.cli.function import find, load_local, model_name, run_variables
from kfunc.config.function import Env
from kfunc.errors import ConfigError, ModelLoadError, StartupError
from tests.cli.conftest import FUNC_YAML


@pytest.mark.parametrize("path", ["", "func.yaml"])
def test_a_folder_or_its_file_stands_for_the_function(folder: Path, path: str) -> None:
    assert find(folder / path) == folder / "func.yaml"


@pytest.mark.parametrize("path", ["", "none", "none.yaml"])
def test_what_is_not_there_is_named_with_the_way_to_get_it(tmp_path: Path, path: str) -> None:
    with pytest.raises(StartupError, match=r"does not exist; `kfunc init "):
        find(tmp_path / path)


def test_a_function_is_completed_with_its_runtime_and_the_reason(folder: Path) -> None:
    local = load_local(folder, {})
    assert (local.directory, local.config.model.runtime, local.why) == (folder, "onnx", "the name ends in .onnx")


def test_a_setting_in_the_environment_wins_over_the_file(folder: Path) -> None:
    assert load_local(folder, {"KFUNC_LOGGER_MODE": "request"}).config.logger is not None
    assert load_local(folder, {"KFUNC_WORKERS": "3"}).config.workers == 3


def test_a_setting_in_the_environment_wins_over_one_in_run_envs(folder: Path) -> None:
    (folder / "func.yaml").write_text(f"{FUNC_YAML}run: {{envs: [{{name: KFUNC_WORKERS, value: '2'}}]}}\n")
    assert load_local(folder, {}).config.workers == 2
    assert load_local(folder, {"KFUNC_WORKERS": "3"}).config.workers == 3


def test_the_processes_get_the_variables_but_not_the_settings_again(folder: Path) -> None:
    (folder / "func.yaml").write_text(f"{FUNC_YAML}run: {{envs: [{{name: GREETING, value: hello}}]}}\n")
    assert load_local(folder, {"HOME": "/", "KFUNC_WORKERS": "3"}).environ == {"HOME": "/", "GREETING": "hello"}


def test_a_setting_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError):
        load_local(folder, {"KFUNC_WORKER": "3"})


def test_a_configuration_left_in_the_environment_is_not_used(folder: Path) -> None:
    assert load_local(folder, {"KFUNC_CONFIG": "{}"}).config.function == "iris"


def test_a_missing_model_is_named_with_the_file_that_wants_it(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelLoadError, match=f"the model {folder}/model.onnx does not exist; {folder}/func.yaml names it"):
        load_local(folder, {})


def test_a_model_can_be_a_file_uri(folder: Path) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", f"file://{folder}/model.onnx"))
    assert load_local(folder, {}).config.model.runtime == "onnx"


@pytest.mark.parametrize(("addition", "name"), [("", "iris"), (", name: rose", "rose")])
def test_the_model_is_named_after_the_function_unless_it_has_a_name(folder: Path, addition: str, name: str) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", f"./model.onnx{addition}"))
    assert model_name(folder / "func.yaml") == name


@pytest.mark.parametrize(
    ("env", "found"),
    [
        (Env("A", "text"), {"A": "text"}),
        (Env("A", "{{ env:HOME }}"), {"A": "/home"}),
        (Env("A", "{{env:HOME}}"), {"A": "/home"}),
        (Env("A", "{{ env:NONE }}"), {}),
        (Env("A", "{{ secret:name:key }}"), {}),
        (Env("A", "{{ configMap:name:key }}"), {}),
        (Env(value="{{ secret:name }}"), {}),
    ],
)
def test_variables_come_from_func_yaml_and_templates_from_the_environment(env: Env, found: dict[str, str]) -> None:
    assert run_variables([env], {"HOME": "/home"}) == found
