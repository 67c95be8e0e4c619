"""`kfunc deploy` and `delete` against an API server: what is applied, said, removed, and with which exit status."""

from pathlib import Path

import msgspec
import pytest

from kfunc.cluster.lock import Lock
from kfunc.rollout.store import ConfigMapStore
from tests.cli.conftest import FUNC_YAML, Command
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.cluster.controllers import fail_with, make_ready, pod
from tests.rollout.worlds import record as rollout_record
from tests.rollout.worlds import rollout

pytestmark = pytest.mark.integration
WITH_IMAGE = FUNC_YAML.replace("runtime: python", "runtime: python\nimage: example.com/iris:1")
CANARY = WITH_IMAGE + "  traffic: {strategy: canary}\n"
ARGUMENTS = ("--no-build", "--timeout", "5")


@pytest.fixture(autouse=True)
def _function(folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE)
    api.objects.on_change = make_ready


def changes(api: ApiServer) -> list[str]:
    """The kinds of the objects that were changed, one after the other; the lock's is none of the function's."""
    return [manifest["kind"] for _, manifest in api.objects.changes if manifest["kind"] != "Lease"]


def test_a_function_is_applied_and_ready(kfunc: Command, folder: Path, api: ApiServer) -> None:
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert (result.status, result.err) == (0, "")
    assert "Knative Service iris created" in result.out
    assert result.out.endswith("url: http://iris.default.example.test\n")
    assert [each["metadata"]["name"] for each in api.objects.of_kind("KnativeService")] == ["iris"]


def test_the_second_time_nothing_changes(kfunc: Command, folder: Path, api: ApiServer) -> None:
    kfunc("deploy", folder, *ARGUMENTS)
    before = len(changes(api))
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert (result.status, "nothing changed" in result.out) == (0, True)
    assert len(changes(api)) == before
    assert len(api.objects.of_kind("Revision")) == 1


def test_a_program_gets_one_object(kfunc: Command, folder: Path) -> None:
    told = msgspec.json.decode(kfunc("deploy", folder, *ARGUMENTS, "--output", "json").out)
    assert (told["name"], told["namespace"], told["ready"], told["causes"]) == ("iris", "default", True, [])
    assert told["changes"] == [
        {"what": "created", "kind": "Service", "apiVersion": "serving.knative.dev/v1", "name": "iris"},
    ]


def test_a_program_gets_the_same_keys_whatever_is_known(kfunc: Command, folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE.replace("logger: {}", "logger: {sink: 'broker:nope'}"))
    tried = msgspec.json.decode(kfunc("deploy", folder, "--dry-run", "--no-build", "--output", "json").out)
    done = msgspec.json.decode(kfunc("deploy", folder, *ARGUMENTS, "--output", "json").out)
    assert tried.keys() == done.keys()
    assert (tried["ready"], tried["causes"], tried["function"]) == (None, None, "iris")
    assert (tried["url"], tried["seconds"]) == (None, None)
    assert [each["text"] for each in done["notes"]] == ["the broker default/nope cannot be there: there is no Knative Eventing"]


@pytest.mark.parametrize("named", [("--image", "example.com/iris:2"), ("--no-build",)])
def test_what_is_for_a_build_is_refused_where_nothing_is_built(
    kfunc: Command, folder: Path, api: ApiServer, named: tuple[str, ...]
) -> None:
    result = kfunc("deploy", folder, *named, "--insecure")
    assert (result.status, "--base, --insecure and --ca are for a build" in result.err) == (2, True)
    assert api.objects.writes == []


def test_a_dry_run_asks_the_cluster_and_keeps_nothing(kfunc: Command, folder: Path, api: ApiServer) -> None:
    result = kfunc("deploy", folder, "--dry-run", "--no-build")
    assert result.status == 0
    assert result.out.endswith("\nKnative Service iris created (dry run)\n")
    assert api.objects.writes == []


def test_a_broker_that_is_not_there_is_said_and_keeps_nothing_back(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE.replace("logger: {}", "logger: {sink: 'broker:nope'}"))
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert result.status == 0
    assert "note: the broker default/nope cannot be there: there is no Knative Eventing\n  https://knative.dev" in result.out


def test_without_waiting_it_ends_when_the_cluster_has_it(kfunc: Command, folder: Path, api: ApiServer) -> None:
    api.objects.on_change = lambda objects, manifest: None
    assert kfunc("deploy", folder, "--wait=false", "--no-build").status == 0


def test_the_namespace_is_what_was_asked_for(kfunc: Command, folder: Path, api: ApiServer) -> None:
    kfunc("deploy", folder, *ARGUMENTS, "-n", "team")
    assert [each["metadata"]["namespace"] for each in api.objects.of_kind("KnativeService")] == ["team"]


def test_without_a_namespace_in_func_yaml_it_is_the_contexts(
    kfunc: Command, folder: Path, api: ApiServer, tmp_path: Path
) -> None:
    api.kubeconfig(tmp_path, namespace="team")
    kfunc("deploy", folder, *ARGUMENTS)
    assert [each["metadata"]["namespace"] for each in api.objects.of_kind("KnativeService")] == ["team"]


def test_a_cause_ends_it_with_what_to_do(kfunc: Command, folder: Path, api: ApiServer) -> None:
    message = 'Unable to fetch image "example.com/iris:1": 404 Not Found'
    api.objects.on_change = fail_with("ContainerMissing", message)
    result = kfunc("deploy", folder, "--no-build", "--timeout", "1")
    assert result.status == 1
    assert result.err == "error: the image example.com/iris:1 is not in its registry\n  kfunc build pushes it\n"


def test_a_refusal_of_one_object_leaves_none(kfunc: Command, folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(CANARY)
    denied = (400, 'admission webhook "rules.example.com" denied the request: no')
    api.objects.refusals[("PATCH", "/apis/networking.istio.io/")] = denied
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert result.status == 1
    assert (
        result.err == "error: VirtualService live-iris was not applied: the cluster's rules (rules.example.com) refuse it: no\n"
    )
    assert changes(api) == []


def test_what_func_yaml_does_not_ask_for_any_more_is_removed(kfunc: Command, folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(CANARY)
    kfunc("deploy", folder, *ARGUMENTS)
    assert api.objects.of_kind("VirtualService")
    (folder / "func.yaml").write_text(WITH_IMAGE)
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert "VirtualService live-iris removed" in result.out
    assert api.objects.of_kind("VirtualService") == []


def test_somebody_elses_objects_are_never_removed(kfunc: Command, folder: Path, api: ApiServer) -> None:
    about = {"name": "mine", "namespace": "default", "labels": {"app.kubernetes.io/name": "iris"}}
    api.objects.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about})
    kfunc("deploy", folder, *ARGUMENTS)
    kfunc("delete", "iris")
    assert [each["metadata"]["name"] for each in api.objects.of_kind("ConfigMap")] == ["mine"]


def test_traffic_that_moves_in_steps_does_not_jump(kfunc: Command, folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(CANARY)
    kfunc("deploy", folder, *ARGUMENTS)
    (folder / "func.yaml").write_text(CANARY.replace("iris:1", "iris:2"))
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert result.status == 1
    assert "kfunc rollout start --image example.com/iris:2 moves the traffic in steps, --all-at-once gives" in result.err
    assert len(api.objects.of_kind("Revision")) == 1
    assert kfunc("deploy", folder, *ARGUMENTS, "--all-at-once").status == 0
    assert len(api.objects.of_kind("Revision")) == 2


def test_without_knative_the_traffic_does_not_jump_either(kfunc: Command, folder: Path, api: ApiServer) -> None:
    raw = CANARY + "  mode: raw\n"
    (folder / "func.yaml").write_text(raw)
    assert kfunc("deploy", folder, *ARGUMENTS, "--wait=false").err == ""
    assert kfunc("deploy", folder, *ARGUMENTS, "--wait=false").err == ""
    (folder / "func.yaml").write_text(raw.replace("iris:1", "iris:2"))
    result = kfunc("deploy", folder, *ARGUMENTS, "--wait=false")
    assert "the Deployment iris runs something else, and inference.traffic says canary: kfunc rollout start" in result.err
    assert kfunc("deploy", folder, *ARGUMENTS, "--wait=false", "--all-at-once").status == 0


def test_a_split_is_not_overrun(kfunc: Command, folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(CANARY)
    kfunc("deploy", folder, *ARGUMENTS)
    (service,) = api.objects.of_kind("KnativeService")
    shares = [{"revisionName": "iris-1", "percent": 100, "tag": "stable"}]
    api.objects.put(service | {"spec": service["spec"] | {"traffic": shares}})
    result = kfunc("deploy", folder, *ARGUMENTS, "--all-at-once")
    assert "requests may be split between them: kfunc rollout abort iris gives everything to one" in result.err


def test_revisions_beyond_the_policy_are_collected(kfunc: Command, folder: Path, api: ApiServer) -> None:
    for number in range(4):
        text = WITH_IMAGE.replace("iris:1", f"iris:{number}") + "  revisions: {keep: 1}\n"
        (folder / "func.yaml").write_text(text)
        assert kfunc("deploy", folder, *ARGUMENTS).status == 0
    images = [each["spec"]["containers"][0]["image"] for each in api.objects.of_kind("Revision")]
    assert images == ["example.com/iris:2", "example.com/iris:3"]


def test_revisions_that_are_kept_are_kept_from_knatives_collector(kfunc: Command, folder: Path, api: ApiServer) -> None:
    kfunc("deploy", folder, *ARGUMENTS)
    (revision,) = api.objects.of_kind("Revision")
    assert revision["metadata"]["annotations"] == {"serving.knative.dev/no-gc": "true"}


def test_a_feature_that_is_off_is_named_with_the_command_that_switches_it_on(
    kfunc: Command, folder: Path, api: ApiServer
) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + "  scheduling: {priority_class: high}\n")
    refusal = "validation failed: must not set the field(s): spec.template.spec.priorityClassName"
    denied = (400, f'admission webhook "validation.webhook.serving.knative.dev" denied the request: {refusal}')
    api.objects.refusals[("PATCH", "/apis/serving.knative.dev/")] = denied
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert "Knative refuses priorityClassName until its feature kubernetes.podspec-priorityclassname is on" in result.err
    assert "kubectl patch configmap config-features -n knative-serving" in result.err


def test_without_knative_it_says_so(kfunc: Command, folder: Path, api: ApiServer) -> None:
    api.objects.refusals[("PATCH", "/apis/serving.knative.dev/")] = (404, "the server could not find the requested resource")
    assert (
        "the cluster has no Knative Serving: install it, or use inference.mode: raw" in kfunc("deploy", folder, *ARGUMENTS).err
    )


def test_delete_leaves_nothing(kfunc: Command, folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(CANARY + "  access: {paths: [/v2/*]}\n")
    kfunc("deploy", folder, *ARGUMENTS)
    assert api.objects.of_kind("AuthorizationPolicy")
    result = kfunc("delete", folder)
    assert (result.status, result.err) == (0, "")
    assert [each for each in api.objects.found.values() if each["kind"] != "Revision"] == []


def test_delete_without_a_name_takes_the_folders_function(
    kfunc: Command, folder: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfunc("deploy", folder, *ARGUMENTS)
    monkeypatch.chdir(folder)
    assert kfunc("delete").status == 0
    assert api.objects.of_kind("KnativeService") == []


def test_delete_of_nothing_says_so(kfunc: Command) -> None:
    assert kfunc("delete", "other") == (0, "there is nothing of other in the namespace default\n", "")


def test_delete_where_there_is_no_namespace_says_so(kfunc: Command, api: ApiServer) -> None:
    api.objects.refusals[("POST", "/apis/coordination.k8s.io/")] = (404, 'namespaces "team" not found')
    assert kfunc("delete", "iris", "-n", "team") == (0, "there is nothing of iris in the namespace team\n", "")


def test_delete_takes_the_rollout_first_and_is_not_done_beside_others(kfunc: Command, folder: Path, api: ApiServer) -> None:
    kfunc("deploy", folder, *ARGUMENTS)
    ConfigMapStore(connect(), "iris", "default").write(rollout_record(rollout(phase="promoted")))
    with Lock(connect(), "iris", "default", "kfunc deploy (ann:1)"):
        result = kfunc("delete", "iris")
        assert (result.status, "kfunc deploy (ann:1) is changing iris" in result.err) == (1, True)
        prune = kfunc("revisions", "iris", "--prune")
        assert (prune.status, "kfunc deploy (ann:1) is changing iris" in prune.err) == (1, True)
    assert kfunc("delete", "iris").out.splitlines()[0] == "ConfigMap iris-rollout removed"


def test_delete_says_which_pods_do_not_end(kfunc: Command, folder: Path, api: ApiServer) -> None:
    kfunc("deploy", folder, *ARGUMENTS)
    api.objects.put(pod("iris-1"))
    result = kfunc("delete", "iris", "--timeout", "1")
    assert (result.status, "still there after 1 s: iris-1" in result.err) == (1, True)


def test_a_cluster_that_does_not_know_the_user_is_one_line(
    kfunc: Command, folder: Path, api: ApiServer, tmp_path: Path
) -> None:
    api.kubeconfig(tmp_path, token="wrong")  # noqa: S106
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "the cluster does not know you (401): log in again" in result.err
