"""`kfunc debug` and `kfunc doctor` against an API server: what is in the bundle, what is found."""

import base64
import socket
import ssl
import subprocess
import sys
import tarfile
from contextlib import chdir
from pathlib import Path

import pytest

from kfunc.cli.doctor_cluster import cluster_findings
from kfunc.cli.doctor_local import accelerator_findings, runtime_findings, surveyed
from kfunc.cli.doctor_network import refused, registry_findings, sink_findings
from kfunc.cli.sink_causes import sink_causes
from kfunc.config.load import load_function
from kfunc.handlers.accelerators.survey import Survey
from kfunc.images.transport import lost
from kfunc.rollout.record import Objects, Record, to_config_map
from tests.cli.conftest import FUNC_YAML, Command
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.cluster.controllers import make_ready, pod
from tests.images.registries import Fault, Front
from tests.rollout.worlds import rollout

pytestmark = pytest.mark.integration
WITH_IMAGE = FUNC_YAML.replace("runtime: python", "runtime: python\nimage: 127.0.0.1:9/iris:1")


@pytest.fixture
def bundle(kfunc: Command, folder: Path, api: ApiServer, tmp_path: Path) -> dict[str, str]:
    """The files of a function with one pod, whose log holds the value of its Secret."""
    (folder / "func.yaml").write_text(WITH_IMAGE)
    api.objects.on_change = make_ready
    kfunc("deploy", folder, "--no-build")
    revision = api.objects.of_kind("Revision")[0]["metadata"]["name"]
    running = pod("iris-1", revision)
    running["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    running["spec"]["containers"][0]["env"] = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "a"}}}]
    api.objects.put(running)
    for namespace, name, key in (
        ("default", "words", "greeting: hello"),
        ("istio-system", "istio", "discoveryAddress: istiod"),
        ("knative-serving", "config-istio", "gateway: x"),
    ):
        about = {"name": name, "namespace": namespace}
        api.objects.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"text": key}})
    data = {"password": base64.b64encode(b"open sesame").decode()}
    api.objects.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "default"}, "data": data})
    api.objects.logs["iris-1/handler"] = "2026-11-25T14:00:00Z the password is: open sesame\n"
    api.objects.put(pod("iris-2", revision, handler={"terminated": {"exitCode": 1, "reason": "Error"}}))
    api.objects.logs["iris-2/handler"] = "login failed for open sesame\n"
    api.objects.answers["iris-1:9097/metrics"] = (200, b"kfunc_requests_total 1\n")
    service = running | {"spec": {"containers": [{"name": "handler", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]}}
    kept = Record(rollout(phase="promoted"), Objects(before=[service], promoted=[service]))
    api.objects.put(to_config_map(kept))
    result = kfunc("debug", "iris", "--file", tmp_path / "iris.tar")
    assert (result.status, result.err) == (0, "")
    with tarfile.open(tmp_path / "iris.tar") as archive:
        files = [(each.name, archive.extractfile(each)) for each in archive.getmembers()]
        return {name.removeprefix("iris-debug/"): file.read().decode() for name, file in files if file is not None}


def test_a_bundle_has_manifests_logs_metrics_and_the_status(bundle: dict[str, str]) -> None:
    assert {"status.txt", "events.txt", "logs/iris-1/handler.log", "metrics/iris-1/handler.txt"} <= set(bundle)
    assert "manifests/knativeservice-iris.yaml" in bundle
    assert "manifests/pod-iris-1.yaml" in bundle
    assert "default/iris: ready" in bundle["status.txt"]
    assert "| login failed for <redacted>" in bundle["status.txt"]


def test_settings_that_a_function_takes_from_config_maps_and_those_of_the_mesh_are_in_a_bundle(bundle: dict[str, str]) -> None:
    assert "greeting: hello" in bundle["manifests/configmap-words.yaml"]
    assert "discoveryAddress" in bundle["settings/istio.yaml"]
    assert "settings/config-istio.yaml" in bundle


def test_only_its_owner_reads_a_bundle_and_an_earlier_one_is_not_overwritten_unasked(
    kfunc: Command, bundle: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "iris.tar"
    assert place.stat().st_mode & 0o777 == 0o600
    place.chmod(0o644)
    assert kfunc("debug", "iris", "--file", place).status == 0
    assert place.stat().st_mode & 0o777 == 0o600
    with chdir(tmp_path):
        assert kfunc("debug", "iris").status == 0
        again = kfunc("debug", "iris")
    assert (again.status, again.err.partition(":")[2]) == (
        2,
        " iris-debug.tar is there already: remove it, or name a file with --file, which is overwritten\n",
    )


def test_no_secret_is_in_a_bundle(bundle: dict[str, str]) -> None:
    assert [name for name, text in bundle.items() if "open sesame" in text or "hunter2" in text] == []
    assert "DB_PASSWORD" in bundle["manifests/configmap-iris-rollout.yaml"]
    assert [name for name in bundle if "secret" in name] == []


def test_a_sink_that_takes_no_events_is_a_cause_with_what_the_logger_said(
    kfunc: Command, folder: Path, api: ApiServer, tmp_path: Path
) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE)
    api.objects.on_change = make_ready
    kfunc("deploy", folder, "--no-build")
    running = pod("iris-1", api.objects.of_kind("Revision")[0]["metadata"]["name"])
    running["spec"]["containers"].append({"name": "logger"})
    running["status"]["containerStatuses"].append({"name": "logger", "ready": True, "state": {"running": {}}})
    api.objects.put(running)
    api.objects.logs["iris-1/logger"] = (
        "2026-11-25T14:00:00Z WARNING kfunc.logger: the sink sink takes no events: no such host; they wait in the spool\n"
    )
    text = (
        'kfunc_events_waiting{component="logger",sink="sink"} 7\nkfunc_events_retried_total{component="logger",sink="sink"} 9\n'
    )
    api.objects.answers["iris-1:9095/metrics"] = (200, text.encode())
    result = kfunc("debug", "iris", "--file", tmp_path / "iris.tar")
    assert "! the logger of iris-1: the sink sink takes no events (7 wait, 9 tries have failed): no such host" in result.out
    assert "correct the address in inference.logger" in result.out


@pytest.mark.parametrize(("waiting", "retried"), [(0, 9), (7, 0)])
def test_a_sink_that_is_only_busy_or_was_away_is_no_cause(waiting: int, retried: int) -> None:
    text = f'kfunc_events_waiting{{sink="a"}} {waiting}\nkfunc_events_retried_total{{sink="a"}} {retried}\n'
    assert list(sink_causes({"metrics/iris-1/logger.txt": text})) == []


def test_a_function_that_is_not_there_makes_no_bundle(kfunc: Command, api: ApiServer, tmp_path: Path) -> None:
    result = kfunc("debug", "other", "--file", tmp_path / "other.tar")
    assert (result.status, result.err) == (
        1,
        "error: there is no function other in the namespace default; -n looks in another one\n",
    )
    assert not (tmp_path / "other.tar").exists()


def test_in_a_function_s_folder_its_name_stands_for_the_folder_and_its_namespace(
    kfunc: Command, folder: Path, api: ApiServer, tmp_path: Path
) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("runtime: python", "runtime: python\nnamespace: team"))
    with chdir(folder):
        assert "in the namespace team" in kfunc("debug", "iris").err
        assert "in the namespace other" in kfunc("debug", "iris", "-n", "other").err
        assert "in the namespace default" in kfunc("debug", "roses").err


def deployment(name: str, namespace: str, version: str, available: str = "True") -> dict[str, object]:
    about = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/version": version}}
    status = {"conditions": [{"type": "Available", "status": available}]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": {}, "status": status}


def doctored(folder: Path) -> dict[str, str]:
    """What is found about the cluster: verdicts by their texts."""
    return {finding.text: finding.verdict for finding in cluster_findings(folder, "", "")}


def test_the_versions_of_what_the_cluster_runs_are_named(folder: Path, api: ApiServer) -> None:
    for part in ("controller", "webhook", "autoscaler", "activator"):
        api.objects.put(deployment(part, "knative-serving", "1.21.0"))
    api.objects.put(deployment("istiod", "istio-system", "1.30.0", "False"))
    found = doctored(folder)
    assert found["Knative Serving 1.21.0"] == "good"
    assert found["Istio 1.30.0: istiod not available"] == "bad"


def test_what_is_no_version_is_shown_as_what_it_is(folder: Path, api: ApiServer) -> None:
    for part in ("controller", "webhook", "autoscaler", "activator"):
        api.objects.put(deployment(part, "knative-serving", "devel"))
    text = "Knative Serving of unknown version (label app.kubernetes.io/version: devel)"
    assert doctored(folder)[text] == "good"


def test_rights_that_are_missing_are_named(folder: Path, api: ApiServer) -> None:
    api.objects.forbidden = {"patch"}
    text = "in the namespace default you may not: patch KnativeService"
    assert doctored(folder)[text] == "bad"
    usual = {finding.text for finding in cluster_findings(None, "", "")}
    assert f"{text}, patch VirtualService" in usual


def test_a_function_without_knative_needs_neither_it_nor_rights_to_it(folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", "mode: raw"))
    found = doctored(folder)
    assert found["there is no Knative Serving"] == "note"
    assert not [text for text in found if "domain" in text or "features" in text]
    api.objects.forbidden = {"patch"}
    (lacking,) = [text for text in doctored(folder) if "may not" in text]
    assert "patch Deployment" in lacking
    assert "Knative" not in lacking


def test_a_function_that_istio_routes_needs_istio(folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML + "  traffic: {strategy: canary, steps: [10, 100]}\n")
    assert doctored(folder)["there is no Istio"] == "bad"


CONFIG = """\
apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: a, user: {token: x}}]
"""


@pytest.mark.parametrize(("content", "context"), [(CONFIG, "nope"), ("a: [", ""), (CONFIG, "")])
def test_a_kubeconfig_that_cannot_be_used_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, context: str
) -> None:
    (tmp_path / "config").write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert [finding.verdict for finding in cluster_findings(None, "", context)] == ["bad"]


def test_a_cluster_without_knative_is_bad_and_says_where_to_get_it(folder: Path, api: ApiServer) -> None:
    assert doctored(folder)["there is no Knative Serving"] == "bad"


@pytest.mark.parametrize(
    ("sink", "eventing", "text"),
    [
        (
            "{}",
            False,
            "the broker default/default (the logger's sink, since inference.logger names none) cannot be there:"
            " there is no Knative Eventing",
        ),
        ("{sink: 'broker:nope'}", False, "the broker default/nope cannot be there: there is no Knative Eventing"),
        ("{sink: 'broker:nope'}", True, "there is no broker default/nope: the events wait in the spool"),
    ],
)
def test_a_broker_that_is_not_there_is_bad(folder: Path, api: ApiServer, sink: str, eventing: bool, text: str) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", f"logger: {sink}"))
    if eventing:
        api.objects.put(deployment("eventing-controller", "knative-eventing", "1.21.0"))
    assert doctored(folder)[text] == "bad"


def test_a_broker_that_is_ready_is_good(folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", "logger: {sink: 'broker:team/b'}"))
    about, status = {"name": "b", "namespace": "team"}, {"conditions": [{"type": "Ready", "status": "True"}]}
    api.objects.put({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": about, "status": status})
    assert doctored(folder)["the broker team/b is ready"] == "good"
    (finding,) = sink_findings(load_function(folder / "func.yaml"))
    assert (finding.verdict, "only pods reach it" in finding.text) == ("note", True)


def test_a_feature_that_the_function_needs_and_that_is_off_is_bad(folder: Path, api: ApiServer) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML + "  scheduling: {priority_class: high}\n")
    about = {"name": "config-features", "namespace": "knative-serving"}
    text = "inference.scheduling.priority_class needs Knative's feature kubernetes.podspec-priorityclassname, and it is off"
    assert doctored(folder)[text] == "bad"
    data = {"kubernetes.podspec-priorityclassname": "enabled"}
    api.objects.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data})
    assert text not in doctored(folder)


def test_without_a_kubeconfig_the_rest_is_looked_at_all_the_same(
    kfunc: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(folder / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = kfunc("doctor", folder)
    assert (result.status, "no cluster: there is no kubeconfig" in result.out, "onnx: onnxruntime" in result.out) == (
        0,
        True,
        True,
    )


def test_a_registry_that_does_not_answer_is_bad_with_what_to_do(folder: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE)
    (finding,) = registry_findings(load_function(folder / "func.yaml"))
    assert finding.verdict == "bad"
    assert "cannot reach the registry 127.0.0.1:9: Connection refused; check its name" in finding.text


def test_a_registry_whose_name_is_not_known_is_no_matter_of_credentials(folder: Path) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE.replace("127.0.0.1:9", "registry.invalid"))
    (finding,) = registry_findings(load_function(folder / "func.yaml"))
    assert "cannot reach the registry registry.invalid" in finding.text
    assert "docker login" not in finding.text + finding.advice


def test_of_a_registry_that_speaks_plain_http_the_setting_is_named() -> None:
    finding = refused(lost("https://registry.team:5000/v2/", ssl.SSLError("WRONG_VERSION_NUMBER")))
    assert finding.text == "registry.team:5000 speaks plain HTTP"
    assert finding.advice == "registryInsecure: true in func.yaml allows plain HTTP, if that is meant"


def test_a_folder_that_is_not_there_is_a_mistake_of_the_call(kfunc: Command, tmp_path: Path) -> None:
    result = kfunc("doctor", tmp_path / "nodir")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: there is no folder {tmp_path / 'nodir'}; ")
    assert result.err.count("\n") == 1


def test_tensorrt_that_is_not_installed_is_named() -> None:
    (finding,) = [each for each in runtime_findings([]) if each.text.startswith("tensorrt: ")]
    assert (finding.verdict, finding.text) == ("note", "tensorrt: tensorrt not installed")


def test_a_registry_that_fails_is_bad(folder: Path) -> None:
    with Front("", lambda _, __: Fault(500)) as front:
        (folder / "func.yaml").write_text(WITH_IMAGE.replace("127.0.0.1:9", front.host))
        (finding,) = registry_findings(load_function(folder / "func.yaml"))
    assert (finding.verdict, "500 Internal Server Error" in finding.text) == ("bad", True)


def test_a_runtime_that_the_function_needs_and_that_is_missing_is_bad() -> None:
    missing = [finding for finding in runtime_findings(["torch"]) if finding.text.startswith("torch: ")]
    assert [(finding.verdict, "[torch]" in finding.advice) for finding in missing] == [("bad", True)]


def test_a_sink_is_good_where_something_listens_and_bad_where_nothing_does(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sinks = f"[{{name: a, to: 'nats://127.0.0.1:{port}/x'}}, {{name: b, to: 'http://127.0.0.1:1/'}}]"
        (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", f"logger: {{sinks: {sinks}}}"))
        found = list(sink_findings(load_function(folder / "func.yaml")))
    assert [finding.verdict for finding in found] == ["good", "bad"]
    assert "nothing answers from here (Connection refused)" in found[1].text


def test_a_sink_within_the_cluster_cannot_be_judged_from_here(folder: Path) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", "logger: {sink: 'http://a.team.svc.cluster.local'}"))
    (finding,) = sink_findings(load_function(folder / "func.yaml"))
    assert finding.verdict == "note"


@pytest.mark.parametrize("host", ["dumper", "dumper.default", "a.b.invalid"])
def test_a_short_name_that_only_pods_may_know_is_a_note(folder: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    def unknown(*_: object) -> socket.socket:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("kfunc.cli.doctor_network.socket.create_connection", unknown)
    (folder / "func.yaml").write_text(FUNC_YAML.replace("logger: {}", f"logger: {{sink: 'http://{host}/x'}}"))
    (finding,) = sink_findings(load_function(folder / "func.yaml"))
    assert finding.verdict == ("bad" if "invalid" in host else "note")


@pytest.mark.parametrize(
    ("survey", "verdict", "text"),
    [
        (Survey("onnx", ("cpu",)), "good", "onnx: runs on cpu"),
        (Survey("torch", ("cuda", "cpu")), "good", "torch: runs on cuda, else cpu"),
        (Survey("onnx", ("cpu",), (("cuda", "no NVIDIA GPU"),)), "good", "onnx: runs on cpu; not on cuda: no NVIDIA GPU"),
        (Survey("x", (), (("cuda", "no NVIDIA GPU"),)), "note", "x: runs on nothing here; not on cuda: no NVIDIA GPU"),
        (Survey("paddle", fault="no libgomp"), "note", "paddle: what it would run on is not known: no libgomp"),
    ],
)
def test_what_a_runtime_would_run_on_is_told(survey: Survey, verdict: str, text: str) -> None:
    finding = surveyed(survey, with_reasons=True)
    assert (finding.about, finding.verdict, finding.text) == ("accelerators", verdict, text)


def test_without_a_gpu_nothing_is_said_of_what_would_need_one() -> None:
    survey = Survey("onnx", ("cpu",), (("cuda", "no NVIDIA GPU"),))
    assert surveyed(survey, with_reasons=False).text == "onnx: runs on cpu"


def test_each_installed_runtime_is_asked_what_it_would_run_on() -> None:
    told = [finding.text for finding in accelerator_findings()]
    assert [text for text in told if text.startswith("onnx: runs on ")]


def test_of_a_runtime_that_computes_on_the_cpu_alone_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfunc.cli.doctor_local.missing_packages", lambda runtime: [])
    told = [finding.text for finding in accelerator_findings(lambda *_: start_nothing())]
    assert "sklearn: runs on cpu, and on nothing else" in told
    assert "pmml: runs on cpu, and on nothing else" in told
    assert not [text for text in told if text.startswith(("python: ", "mlflow: "))]


def start_nothing() -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("print('hello')", "its process ended with exit status 0"), ("raise SystemExit('no libgomp')", "no libgomp")],
)
def test_a_runtime_that_cannot_say_is_a_note(code: str, reason: str) -> None:
    def start(*_: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", code]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    told = [finding for finding in accelerator_findings(start) if finding.text.startswith("onnx: ")]
    assert [(each.verdict, each.text) for each in told] == [("note", f"onnx: what it would run on is not known: {reason}")]
