"""`kfunc deploy` as a user runs it: from a folder to an answer, the same again, and away again."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, wait_until

Kfunc = Callable[..., str]
ROOT = Path(__file__).parents[2]
KINDS = "ksvc,revision,configuration,route,deployment,pod,service,configmap,virtualservice,destinationrule,authorizationpolicy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_namespace: Namespace) -> Path:
    """The root example, with an image in the cluster's registry."""
    made = tmp_path_factory.mktemp("function") / "iris"
    made.mkdir()
    shutil.copytree(ROOT / "examples/iris", made / "examples/iris")
    text = (ROOT / "func.yaml").read_text()
    image = f"{shared_namespace.cluster.registry}/e2e/deployed-{shared_namespace.name[-6:]}"
    text = text.replace("registry.example.com/team/iris", image)
    (made / "func.yaml").write_text(text.replace("runtime: python", "runtime: python\nregistryInsecure: true", 1))
    return made


@pytest.fixture(scope="module")
def options(base_image: str, shared_namespace: Namespace) -> tuple[str, ...]:
    """Of every deployment here."""
    return ("-n", shared_namespace.name, "--base", base_image, "--timeout", "120")


@pytest.fixture(scope="module")
def deployed(kfunc: Kfunc, folder: Path, options: tuple[str, ...], shared_namespace: Namespace) -> str:
    """The function, deployed; what the command printed."""
    return kfunc("deploy", folder, *options)


def test_one_command_goes_from_a_folder_to_a_function_that_is_ready(deployed: str, shared_namespace: Namespace) -> None:
    assert "Knative Service iris created" in deployed
    assert "iris is ready after" in deployed
    assert f"url: http://iris.{shared_namespace.name}.{shared_namespace.cluster.domain}\n" in deployed


def test_it_answers_through_the_gateway(kfunc: Kfunc, deployed: str, folder: Path, shared_namespace: Namespace) -> None:
    where = ("-n", shared_namespace.name, "--gateway", shared_namespace.cluster.ingress)
    data = "[[5.1, 3.5, 1.4, 0.2]]"
    answer = json.loads(kfunc("invoke", "--remote", folder, *where, "--data", data, "--output", "json"))
    assert answer["outputs"][0]["data"] == [0]


def test_the_second_time_nothing_changes_and_no_revision_is_made(
    kfunc: Kfunc, deployed: str, folder: Path, options: tuple[str, ...], shared_namespace: Namespace
) -> None:
    before = shared_namespace.get("ksvc", "iris")
    said = kfunc("deploy", folder, *options)
    after = shared_namespace.get("ksvc", "iris")
    assert "nothing changed" in said
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert len(shared_namespace.get("revision")["items"]) == 1


def test_status_says_that_it_is_well(kfunc: Kfunc, deployed: str, shared_namespace: Namespace) -> None:
    told = json.loads(kfunc("status", "iris", "-n", shared_namespace.name, "--output", "json"))
    assert (told["ready"], told["phase"], told["causes"]) == (True, "ready", [])


def test_the_logs_of_the_containers_are_one_stream(
    kfunc: Kfunc, deployed: str, folder: Path, shared_namespace: Namespace
) -> None:
    where = ("-n", shared_namespace.name, "--gateway", shared_namespace.cluster.ingress)
    kfunc("invoke", "--remote", folder, *where)
    kfunc("logs", "iris", "-n", shared_namespace.name, "-c", "queue-proxy", "-c", "handler")


def test_a_bundle_has_what_the_cluster_knows_of_it(
    kfunc: Kfunc, deployed: str, folder: Path, shared_namespace: Namespace, tmp_path: Path
) -> None:
    where = ("-n", shared_namespace.name, "--gateway", shared_namespace.cluster.ingress)
    kfunc("invoke", "--remote", folder, *where)
    told = json.loads(kfunc("debug", "iris", "-n", shared_namespace.name, "--file", tmp_path / "iris.tar", "--output", "json"))
    kinds = {name.split("/")[0] for name in told["files"]}
    assert {"status.txt", "events.txt", "manifests", "logs", "metrics", "settings"} <= kinds


def test_the_doctor_finds_the_cluster_with_its_programs(kfunc: Kfunc, folder: Path, shared_namespace: Namespace) -> None:
    text = (folder / "func.yaml").read_text()
    (folder / "func.yaml").write_text(re.sub(r"logger: {(.*)}", r"logger: {\1, sink: 'file:events.jsonl'}", text))
    try:
        told = json.loads(kfunc("doctor", folder, "-n", shared_namespace.name, "--output", "json"))
    finally:
        (folder / "func.yaml").write_text(text)
    assert [each["text"] for each in told["findings"] if each["verdict"] == "bad"] == []
    good = [each["text"] for each in told["findings"] if each["verdict"] == "good" and each["about"] == "cluster"]
    assert [any(text.startswith(name) for text in good) for name in ("Knative Serving", "Istio")] == [True, True]


def test_a_new_version_is_not_given_all_traffic_unless_asked_and_the_old_one_stays_for_undo(
    kfunc: Kfunc, deployed: str, folder: Path, options: tuple[str, ...], shared_namespace: Namespace
) -> None:
    text = (folder / "func.yaml").read_text()
    first = revisions(kfunc, shared_namespace)[0]["name"]
    (folder / "func.yaml").write_text(text.replace("max_latency_ms: 5", "max_latency_ms: 6"))
    try:
        kfunc("deploy", folder, *options, status=1)
        assert [each["name"] for each in revisions(kfunc, shared_namespace)] == [first]
        kfunc("deploy", folder, *options, "--all-at-once")
        newest, old = revisions(kfunc, shared_namespace)
        assert (newest["percent"], old["name"], old["percent"], old["undo"]) == (100, first, 0, True)
        kfunc("deploy", folder, *options, "--all-at-once")
        assert len(revisions(kfunc, shared_namespace)) == 2
    finally:
        (folder / "func.yaml").write_text(text)


def revisions(kfunc: Kfunc, namespace: Namespace) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(kfunc("revisions", "iris", "-n", namespace.name, "--output", "json"))
    return listed


def test_what_the_webhooks_would_refuse_is_refused_before_they_see_it(
    kfunc: Kfunc, tmp_path: Path, namespace: Namespace
) -> None:
    text = (ROOT / "func.yaml").read_text().replace("target: 32", "target: 32, utilization: 0")
    (tmp_path / "func.yaml").write_text(text.replace("./examples/iris", str(ROOT / "examples/iris")))
    kfunc("deploy", tmp_path, "-n", namespace.name, "--no-build", status=2)
    assert namespace.get("ksvc")["items"] == []


def test_without_knative_it_is_a_deployment_that_answers(
    kfunc: Kfunc, tmp_path: Path, namespace: Namespace, iris_image: str
) -> None:
    shutil.copytree(ROOT / "examples/iris", tmp_path / "examples/iris")
    text = (ROOT / "func.yaml").read_text().replace("\ninference:\n", "\ninference:\n  mode: raw\n").partition("  traffic:")[0]
    (tmp_path / "func.yaml").write_text(text.replace("min: 0, max: 10", "min: 1, max: 1"))
    kfunc("deploy", tmp_path, "-n", namespace.name, "--image", iris_image, "--timeout", "120")
    answer = kfunc("invoke", "--remote", tmp_path, "-n", namespace.name, "--data", "[[5.1, 3.5, 1.4, 0.2]]", "--output", "json")
    assert json.loads(answer)["outputs"][0]["data"] == [0]
    assert "nothing changed" in kfunc("deploy", tmp_path, "-n", namespace.name, "--image", iris_image, "--timeout", "120")
    kfunc("delete", tmp_path, "-n", namespace.name)
    assert left(namespace) == []


def test_delete_leaves_nothing(kfunc: Kfunc, deployed: str, folder: Path, shared_namespace: Namespace) -> None:
    kfunc("delete", folder, "-n", shared_namespace.name)
    wait_until(lambda: left(shared_namespace) == [], "what Knative made of the function is gone")


def left(namespace: Namespace) -> list[str]:
    """What is still there of a function."""
    names = [f"{each['kind']} {each['metadata']['name']}" for each in namespace.get(KINDS)["items"]]
    return [name for name in names if "istio-ca" not in name and "kube-root-ca" not in name]
