"""From a file to a Function: the pieces together."""

from contextlib import chdir
from pathlib import Path

import pytest

from kfunc.config.load import MAX_PROBLEMS, load_function, read_function
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError

LEAST = "inference: {model: {uri: m.onnx}}\n"


def test_the_shortest_file_is_a_function_with_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text(LEAST)
    function = load_function(tmp_path / "func.yaml")
    assert function.inference.protocols == ["v1", "v2"]
    assert function.inference.limits.max_headers == 100


@pytest.mark.parametrize(
    ("folder", "name"), [("iris", "iris"), ("My Iris_2", "my-iris-2"), ("2nd", "f-2nd"), ("日本", "function")]
)
def test_a_function_without_a_name_has_its_folders(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "func.yaml").write_text(LEAST)
    assert load_function(tmp_path / folder / "func.yaml").name == name


def test_a_relative_path_names_its_folder_too(tmp_path: Path) -> None:
    (tmp_path / "wine").mkdir()
    (tmp_path / "wine" / "func.yaml").write_text(LEAST)
    with chdir(tmp_path / "wine"):
        assert load_function(Path("func.yaml")).name == "wine"


def test_a_name_in_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text("name: iris\n" + LEAST)
    assert load_function(tmp_path / "func.yaml").name == "iris"


def test_a_bytes_source_has_no_folder_and_so_no_name() -> None:
    assert read_function(parse_source(LEAST.encode())).name == ""


def test_problems_of_yaml_types_and_rules_come_in_one_error_in_the_files_order() -> None:
    text = (
        "name: 2nd\ninference:\n  model: {uri: m}\n  workers: 0\n  workers: 1\nrun: {envs: [{name: PORT, value: x}]}\nrum: {}\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_function(parse_source(text.encode(), "my.yaml"))
    assert [problem.line for problem in caught.value.problems] == [1, 4, 5, 6, 7]
    assert caught.value.message == "my.yaml: 5 problems"
    assert caught.value.text == text


def test_a_file_that_is_wrong_from_end_to_end_is_told_up_to_a_bound() -> None:
    text = "".join(f"key{number}: 1\n" for number in range(500))
    with pytest.raises(ConfigError) as caught:
        read_function(parse_source(text.encode()))
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert caught.value.problems[-1].message == "and 401 more problems"
