"""`kfunc render`: what is printed and written, what is said beside it, what is refused."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kfunc.manifests.outputs import HEADER
from tests.cli.conftest import FUNC_YAML, Command

DIGEST = "sha256:" + "0" * 64
WITH_IMAGE = FUNC_YAML.replace("runtime: python", "runtime: python\nimage: example.com/iris:1")


@pytest.fixture(autouse=True)
def _image(folder: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE)


def first(text: str) -> dict[str, object]:
    document: dict[str, object] = next(iter(YAML(typ="safe", pure=True).load_all(text)))
    return document


def test_the_service_is_the_first_document_that_is_printed_since_kn_reads_only_that(kfunc: Command, folder: Path) -> None:
    result = kfunc("render", folder)
    assert (result.status, first(result.out)["kind"]) == (0, "Service")
    assert result.out.startswith(HEADER)


def test_what_is_to_be_known_of_it_is_said_on_standard_error(kfunc: Command, folder: Path) -> None:
    err = kfunc("render", folder).err
    assert "note: the logger has no sink: events go to the broker default" in err
    assert "url: http://iris.default.DOMAIN" in err


def test_files_are_written_below_a_folder(kfunc: Command, folder: Path, tmp_path: Path) -> None:
    result = kfunc("render", folder, "-o", tmp_path / "out")
    assert (result.status, result.out) == (0, "")
    assert f"wrote {tmp_path}/out/knative/service.yaml" in result.err
    assert (tmp_path / "out/knative/service.yaml").read_text().startswith(HEADER)


def test_a_file_that_is_not_rendered_any_more_is_removed(kfunc: Command, folder: Path, tmp_path: Path) -> None:
    subscribed = WITH_IMAGE + "deploy: {subscriptions: [{source: flowers, filters: {type: seen}}]}\n"
    (folder / "func.yaml").write_text(subscribed)
    kfunc("render", folder, "-o", tmp_path)
    assert (tmp_path / "knative/eventing.yaml").exists()
    (folder / "func.yaml").write_text(WITH_IMAGE)
    assert f"removed {tmp_path}/knative/eventing.yaml" in kfunc("render", folder, "-o", tmp_path).err
    assert not (tmp_path / "knative/eventing.yaml").exists()


def test_so_is_a_dashboard(kfunc: Command, folder: Path, tmp_path: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + "  monitoring: {}\n")
    kfunc("render", folder, "-o", tmp_path)
    assert (tmp_path / "monitoring/dashboard.json").exists()
    (folder / "func.yaml").write_text(WITH_IMAGE)
    kfunc("render", folder, "-o", tmp_path)
    assert list((tmp_path / "monitoring").iterdir()) == []


def test_a_file_of_the_users_own_is_never_removed(kfunc: Command, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "knative/eventing.yaml"
    own.parent.mkdir()
    own.write_text("kind: Broker\n")
    kfunc("render", folder, "-o", tmp_path)
    assert own.read_text() == "kind: Broker\n"


def test_only_one_kind_is_rendered_if_only_one_is_asked_for(kfunc: Command, folder: Path, tmp_path: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + "deploy: {subscriptions: [{source: flowers, filters: {type: seen}}]}\n")
    kfunc("render", folder, "--only", "eventing", "-o", tmp_path)
    assert [path.name for path in tmp_path.rglob("*.yaml") if path.parent.name == "knative"] == ["eventing.yaml"]


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ([], "example.com/iris:1"),
        (["--image", "localhost:5000/me/iris:2"], "localhost:5000/me/iris:2"),
        (["--image-digest", DIGEST], f"example.com/iris@{DIGEST}"),
        (["--image", "localhost:5000/me/iris:2", "--image-digest", DIGEST], f"localhost:5000/me/iris@{DIGEST}"),
    ],
)
def test_the_image_is_the_one_that_was_given(kfunc: Command, folder: Path, options: list[str], image: str) -> None:
    assert f"image: {image}\n" in kfunc("render", folder, *options).out


def test_the_same_func_yaml_gives_the_same_text(kfunc: Command, folder: Path) -> None:
    assert kfunc("render", folder).out == kfunc("render", folder).out


def test_with_a_stable_revision_the_new_one_gets_no_traffic_of_the_services_own_url(kfunc: Command, folder: Path) -> None:
    assert "revisionName: iris-00000000\n" in kfunc("render", folder, "--stable", "iris-00000000").out


def test_without_an_image_it_says_what_to_do(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML)
    assert kfunc("render", folder) == (
        2,
        "",
        "error: the function has no image: add image: REGISTRY/NAME to func.yaml, or give --image\n",
    )


def test_a_func_yaml_with_problems_renders_nothing(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE.replace("uri:", "url:"))
    result = kfunc("render", folder)
    assert (result.status, result.out) == (2, "")
    assert "inference.model.uri: required, and missing" in result.err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--image", "a b", "is not an image"),
        ("--image-digest", "sha256:0", "64 hexadecimal"),
        ("--stable", "A", "not a revision"),
    ],
)
def test_an_option_that_would_be_refused_by_the_cluster_is_refused(
    kfunc: Command, folder: Path, option: str, value: str, words: str
) -> None:
    result = kfunc("render", folder, option, value)
    assert result.status == 2
    assert words in result.err


def test_a_variable_of_this_machine_is_in_the_manifest_as_the_func_cli_has_it(
    kfunc: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + 'run: {envs: [{name: A, value: "{{ env:HERE }}"}]}\n')
    assert "HERE" in kfunc("render", folder).err
    monkeypatch.setenv("HERE", "yes")
    assert '- name: A\n              value: "yes"\n' in kfunc("render", folder).out


def test_a_variable_that_is_no_text_is_refused(kfunc: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + 'run: {envs: [{name: A, value: "{{ env:HERE }}"}]}\n')
    monkeypatch.setenv("HERE", "\udcff")
    assert kfunc("render", folder).err == "error: run.envs takes HERE from the environment, and its value is not UTF-8\n"


def test_the_rules_of_a_mode_hold_where_the_command_line_asks_for_it(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + "  mode: raw\n  timeout_s: 700\n")
    assert kfunc("validate", folder).status == 0
    result = kfunc("render", folder, "--mode", "knative")
    assert (result.status, result.out) == (2, "")
    assert "inference.timeout_s: Knative's longest time is 600 s, found 700" in result.err


def test_a_folder_that_cannot_be_written_is_said(kfunc: Command, folder: Path) -> None:
    result = kfunc("render", folder, "-o", folder / "func.yaml")
    assert result.status == 2
    assert "choose another folder with -o" in result.err


@pytest.mark.parametrize("group", ["istio", "eventing", "monitoring"])
def test_a_group_that_func_yaml_asks_nothing_of_is_nothing_and_the_fields_are_named(
    kfunc: Command, folder: Path, group: str
) -> None:
    result = kfunc("render", folder, "--only", group)
    assert (result.status, result.out) == (0, "")
    assert "note: there is nothing to render: func.yaml has none of " in result.err


@pytest.mark.parametrize("option", [("--image", "a/b:1"), ("--image-digest", DIGEST)])
def test_an_image_of_kfuncs_is_not_taken_for_another_servers(kfunc: Command, folder: Path, option: tuple[str, str]) -> None:
    (folder / "func.yaml").write_text("name: iris\ninference: {model: {uri: m, name: m}, server: {kind: triton, image: a/t}}\n")
    result = kfunc("render", folder, *option)
    assert (result.status, "change inference.server.image" in result.err) == (2, True)
