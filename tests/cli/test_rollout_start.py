"""`kfunc rollout start` builds where `kfunc deploy` does, and knows new content under an old name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kfunc.rollout.record import Record
from kfunc.rollout.store import ConfigMapStore
from kfunc.rollout.undoing import plan_undo
from tests.cli.conftest import FUNC_YAML, Command
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.cluster.controllers import make_ready
from tests.images.fakes import write_base, write_index
from tests.images.registries import DockerRegistry

pytestmark = pytest.mark.integration
DETACHED = ("--detach", "--output", "json")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"oci:{write_base(tmp_path_factory.mktemp('base') / 'layout', 'amd64')}"


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Packages that are made once, and none from elsewhere."""
    wheels = write_index(tmp_path_factory.mktemp("index"), "onnx")
    return {"KFUNC_CACHE": str(tmp_path_factory.mktemp("cache")), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


@pytest.fixture(autouse=True)
def _function(folder: Path, api: ApiServer, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "registry.example.com")
    for name, value in (variables | {"HOME": str(folder)}).items():
        monkeypatch.setenv(name, value)
    api.objects.on_change = make_ready


def write(folder: Path, registry: str) -> None:
    text = FUNC_YAML.replace("runtime: python", f"runtime: python\nimage: {registry}/team/iris:1")
    (folder / "func.yaml").write_text(text + "  traffic: {strategy: canary}\n")


def begun() -> Record:
    record = ConfigMapStore(connect(), "iris", "default").read()
    assert record is not None
    return record


def images(record: Record) -> set[str]:
    return {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in record.objects.candidate}


def test_new_content_under_the_same_tag_is_rolled_out_by_its_digest(
    kfunc: Command, folder: Path, base: str, registry: DockerRegistry
) -> None:
    write(folder, registry.host)
    assert kfunc("deploy", folder, "--base", base).status == 0
    assert "there is nothing to roll out" in kfunc("rollout", "start", folder, "--base", base).out
    told = json.loads(kfunc("rollout", "start", folder, "--base", base, "--output", "json").out)
    assert (told["phase"], "there is nothing to roll out (kfunc deploy brings changes of" in told["reason"]) == (None, True)
    (folder / "model.onnx").write_bytes(b"another model")
    result = kfunc("rollout", "start", folder, "--base", base, *DETACHED)
    assert (result.status, "pushed" in result.err) == (0, True)
    (image,) = images(begun())
    assert "/team/iris@sha256:" in image


@pytest.mark.parametrize(
    ("options", "image"),
    [(("--image", "example.com/iris:7"), "example.com/iris:7"), (("--no-build",), "/team/iris:1")],
    ids=["another image", "no build"],
)
def test_an_image_that_is_there_is_not_built(kfunc: Command, folder: Path, options: tuple[str, ...], image: str) -> None:
    kfunc("deploy", folder, "--image", "example.com/iris:1")
    result = kfunc("rollout", "start", folder, *options, *DETACHED)
    assert (result.status, "pushed" in result.err) == (0, False)
    (used,) = images(begun())
    assert used.endswith(image)


def test_nothing_is_built_where_nothing_can_be_rolled_out(kfunc: Command, folder: Path, base: str) -> None:
    result = kfunc("rollout", "start", folder, "--base", base)
    assert "iris is not in default yet: `kfunc deploy` brings its first revision there" in result.err
    assert "pushed" not in result.err


KNATIVE = "/apis/serving.knative.dev/v1/namespaces/default/services/iris"
ISTIO = "/apis/networking.istio.io/v1/namespaces/default/virtualservices/live-iris"
TAKEN = "kn set the same fields: --force takes them over"


@pytest.mark.parametrize("where", [KNATIVE, ISTIO])
def test_fields_of_others_are_asked_for_once_and_taken_over_where_that_is_said(
    kfunc: Command, folder: Path, api: ApiServer, where: str
) -> None:
    kfunc("deploy", folder, "--image", "example.com/iris:1")
    api.objects.others[where] = "kn"
    start = "rollout", "start", folder, "--image", "example.com/iris:2", *DETACHED
    refused = kfunc(*start)
    assert (refused.status, TAKEN in refused.err) == (1, True)
    assert ConfigMapStore(connect(), "iris", "default").read() is None
    assert kfunc(*start, "--force").status == 0


def test_what_a_job_consists_of_is_asked_for_before_the_rollout_begins(kfunc: Command, folder: Path, api: ApiServer) -> None:
    kfunc("deploy", folder, "--image", "example.com/iris:1")
    api.objects.others["/api/v1/namespaces/default/serviceaccounts/iris-rollout"] = "kn"
    start = (
        "rollout",
        "start",
        folder,
        "--image",
        "example.com/iris:2",
        "--job-image",
        "example.com/kfunc:1",
        "--output",
        "json",
    )
    assert TAKEN in kfunc(*start).err
    assert ConfigMapStore(connect(), "iris", "default").read() is None
    assert kfunc(*start, "--force").status == 0
    assert len(api.objects.of_kind("Job")) == 1


def test_an_undo_asks_as_well(kfunc: Command, folder: Path, api: ApiServer) -> None:
    for number in (1, 2):
        kfunc("deploy", folder, "--image", f"example.com/iris:{number}", "--all-at-once")
    api.objects.others[KNATIVE] = "kn"
    assert TAKEN in kfunc("rollout", "undo", "iris").err
    planned = plan_undo(connect(), "iris", "default", None, "", 0.0, force=True)
    assert planned.rollout.strategy == "undo"


def test_a_new_sink_binding_does_not_come_with_one_of_two_revisions(kfunc: Command, folder: Path, api: ApiServer) -> None:
    image = ("--image", "registry.example.com/team/iris:1")
    assert kfunc("deploy", folder, *image).status == 0
    text = (folder / "func.yaml").read_text()
    (folder / "func.yaml").write_text(text + "  eventing: {sink_binding: 'broker:default'}\n")
    again = ("--image", "registry.example.com/team/iris:2", *DETACHED)
    refused = kfunc("rollout", "start", folder, *again)
    assert (refused.status, "SinkBinding is new" in refused.err) == (1, True)
    assert kfunc("deploy", folder, *image, "--all-at-once").status == 0
    assert api.objects.of_kind("SinkBinding")
    assert kfunc("rollout", "start", folder, *again).status == 0
