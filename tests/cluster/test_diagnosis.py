"""Observed objects in, phase and causes out. `recorded/` is from a real Kubernetes 1.34 with Knative 1.21."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.cluster.causes import creation_cause, image_cause, unschedulable_cause
from kfunc.cluster.diagnosis import diagnose, model_phase
from kfunc.cluster.log_text import message_of, startup_error
from kfunc.cluster.observed import Condition, Observed

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> Observed:
    """What was observed of a function with one thing wrong."""
    value = msgspec.json.decode((RECORDED / f"{name}.json").read_bytes())
    value["said"] = {pod: said.encode() for pod, said in value["said"].items()}
    return Observed(**value)


DIGEST = "sha256:" + "9ae3f0c1" * 6 + "b404a1c2" + "77aa0011"
CASES = [
    ("noimage", "accepted", "image-pull", "the image 10.230.0.2:5000/deploy/none:1 is not in its registry"),
    ("noregistry", "accepted", "image-pull", "the image nowhere.example.test/x/y:1 cannot be pulled"),
    ("baddigest", "pulling", "image-pull", "speaks plain HTTP, and the cluster asks by TLS"),
    ("exit2", "starting", "bad-model", "the handler refuses to start: the model ./model.onnx does not exist"),
    ("exit1", "starting", "crash-loop", "the container handler ended with exit status 1"),
    ("oom", "starting", "out-of-memory", "it needs more memory than its limit (32Mi)"),
    (
        "gpu",
        "scheduling",
        "unschedulable",
        "no node has nvidia.com/gpu free: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu",
    ),
    ("bigmem", "scheduling", "unschedulable", "no node has enough memory free"),
    ("nosecret", "starting", "missing-object", "the namespace has no Secret none"),
    ("nocommand", "starting", "not-started", 'does not start: "python": executable file not found in $PATH'),
    ("nosa", "accepted", "missing-object", "the namespace has no service account nobody"),
    ("quota", "accepted", "quota", "must specify limits.memory for: queue-proxy"),
]


@pytest.mark.parametrize(("name", "phase", "code", "text"), CASES, ids=[case[0] for case in CASES])
def test_what_keeps_a_function_back_is_named(name: str, phase: str, code: str, text: str) -> None:
    found = diagnose(recorded(name))
    assert (found.phase, [cause.code for cause in found.causes]) == (phase, [code])
    assert text in found.causes[0].text


def test_the_last_lines_of_a_container_that_ended_come_with_the_cause() -> None:
    assert sorted(diagnose(recorded("exit1")).causes[0].lines) == ["Traceback", "ValueError: bad"]


def test_a_function_that_is_not_there_is_missing() -> None:
    assert diagnose(Observed("iris", "team")).phase == "missing"


def test_a_service_that_the_controller_has_not_seen_is_accepted() -> None:
    service = ksvc(ready="True", generation=2)
    assert diagnose(Observed("iris", "team", service=service)).phase == "accepted"


def test_a_ready_service_without_pods_is_ready() -> None:
    found = diagnose(Observed("iris", "team", service=ksvc("True"), revisions=[revision("True")]))
    assert (found.phase, found.detail, found.causes) == ("ready", "no pod while nothing asks", [])


def test_a_pod_that_is_on_its_way_out_is_told_beside_no_pod() -> None:
    last = pod()
    last["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:00Z"
    found = diagnose(Observed("iris", "team", service=ksvc("True"), revisions=[revision("True")], pods=[last]))
    assert found.detail == "no pod while nothing asks, the last is ending"


def test_a_service_whose_traffic_is_pinned_is_not_ready_while_its_newest_revision_is_not() -> None:
    observed = Observed("iris", "team", service=ksvc("True"), revisions=[revision("False")], pods=[pod()])
    assert diagnose(observed).phase == "starting"


def test_ready_pods_without_an_address_wait_for_the_route() -> None:
    service = ksvc("Unknown", RoutesReady=("Unknown", "IngressNotConfigured", "Ingress has not yet been reconciled."))
    found = diagnose(Observed("iris", "team", service=service, revisions=[revision("True")]))
    assert (found.phase, found.causes[0].code) == ("routing", "no-route")
    assert "Ingress has not yet been reconciled" in found.causes[0].text


def test_an_image_on_its_way_is_named() -> None:
    pulling = event("Pulling", 'Pulling image "example.com/iris:1"')
    waiting = pod(state={"waiting": {"reason": "ContainerCreating"}})
    found = diagnose(Observed("iris", "team", service=ksvc("Unknown"), pods=[waiting], events=[pulling]))
    assert (found.phase, found.detail) == ("pulling", "example.com/iris:1")


def test_an_image_that_has_arrived_is_not_pulled_any_more() -> None:
    events = [event("Pulling", 'Pulling image "a"', 1), event("Pulled", 'Successfully pulled image "a" in 2s', 2)]
    waiting = pod(state={"waiting": {"reason": "ContainerCreating"}})
    assert diagnose(Observed("iris", "team", service=ksvc("Unknown"), pods=[waiting], events=events)).phase == "starting"


def test_what_the_handler_does_is_what_its_readiness_says() -> None:
    said = {"iris-1": b'{"error": "the model iris is loading"}'}
    found = diagnose(Observed("iris", "team", service=ksvc("Unknown"), pods=[pod()], said=said))
    assert (found.phase, found.detail) == ("loading", "the model iris is loading")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"error":"x","phase":"downloading","done":42000000,"total":100000000}',
            ("downloading", "the model, 42 % (42 of 100 MB)"),
        ),
        (
            b'{"error":"downloading 0 %: h: no route","phase":"downloading","done":0,"total":9,"hindrance":"h: no route"}',
            ("downloading", "downloading 0 %: h: no route"),
        ),
        (b'{"error":"downloading 42 % (1.2 of 2.9 GB)"}', ("downloading", "downloading 42 % (1.2 of 2.9 GB)")),
        (
            b'{"error":"waiting for another download","phase":"waiting for another download"}',
            ("downloading", "waiting for another download"),
        ),
        (b'{"error":"the model iris is loading","phase":"loading"}', ("loading", "the model iris is loading")),
        (b"{}", ("loading", "the model")),
        (b"upstream connect error", ("starting", "upstream connect error")),
    ],
)
def test_a_readiness_answer_gives_the_phase(body: bytes, expected: tuple[str, str]) -> None:
    assert model_phase(body) == expected


def test_a_raw_deployment_is_ready_when_all_its_new_pods_are() -> None:
    status = {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "iris", "generation": 1},
        "spec": {"replicas": 2},
        "status": status,
    }
    assert diagnose(Observed("iris", "team", "raw", deployment)).phase == "ready"


def test_a_raw_deployment_of_which_pods_are_missing_is_not_ready() -> None:
    status = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 2, "replicas": 3}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "iris", "generation": 1},
        "spec": {"replicas": 2},
        "status": status,
    }
    assert diagnose(Observed("iris", "team", "raw", deployment)).phase == "accepted"


def test_a_pod_for_which_a_node_is_being_added_is_waited_for() -> None:
    scheduled = Condition("False", "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    for adding in "TriggeredScaleUp", "Nominated":
        assert unschedulable_cause(scheduled, ["FailedScheduling", adding]).patience_s is None
    assert unschedulable_cause(scheduled, ["FailedScheduling"]).patience_s == 30


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.", "inference.scheduling.node_selector"),
        ("0/3 nodes are available: 3 node(s) had untolerated taint {gpu: true}.", "inference.scheduling.tolerations"),
        ('0/3 nodes are available: persistentvolumeclaim "models" not found.', "inference.model.uri"),
        ("0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.", "deploy.options.resources.requests"),
    ],
)
def test_a_pod_that_no_node_takes_has_a_way_out(message: str, advice: str) -> None:
    assert advice in unschedulable_cause(Condition("False", "Unschedulable", message), []).advice


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("manifest for example.com/iris:1 not found: manifest unknown", "is not in its registry"),
        ("pull access denied, repository does not exist or may require authorization", "does not let the cluster pull"),
        ("failed to authorize: 401 Unauthorized", "does not let the cluster pull"),
        ("dial tcp 10.0.0.1:443: i/o timeout", "cannot be pulled"),
        (
            f'failed to do request: Head "https://r:4013/v2/iris/manifests/404": example.com/iris@{DIGEST}: EOF',
            "cannot be pulled",
        ),
        ("unexpected status from HEAD request to https://r/v2/iris/manifests/1: 403 Forbidden", "does not let the cluster"),
        ("example.com/iris:404: i/o timeout", "cannot be pulled"),
        ("failed to unpack image: no match for platform in manifest: not found", "is for other processors than the nodes have"),
        (
            "choosing image instance: no image found in image index for architecture arm64, variant v8",
            "is for other processors",
        ),
        ('no image found in manifest list for architecture "arm64", OS "linux"', "is for other processors"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "is for other processors"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "does not trust the certificate"),
        ("unexpected status code https://r/v2/a: 429 Too Many Requests - toomanyrequests: limit", "gives no more for a while"),
    ],
)
@pytest.mark.parametrize("image", ["example.com/iris:1", "example.com/iris:404", f"example.com/iris@{DIGEST}"])
def test_an_image_that_cannot_be_pulled_is_explained(image: str, message: str, text: str) -> None:
    assert text in image_cause(image, message.replace("example.com/iris:404", image)).text


def test_a_registry_that_limits_pulls_is_waited_for() -> None:
    assert image_cause("me/iris:1", "429 Too Many Requests").patience_s is None


def test_a_container_that_runs_again_after_its_end_has_another_chance() -> None:
    again = pod()
    (status,) = again["status"]["containerStatuses"]
    for restarts, end in (1, {"exitCode": 1}), (2, {"exitCode": 1}), (2, {"exitCode": 137, "reason": "OOMKilled"}):
        status |= {"restartCount": restarts, "lastState": {"terminated": end}}
        found = diagnose(Observed("iris", "team", service=ksvc("Unknown"), pods=[again]))
        assert [cause.patience_s for cause in found.causes] == [None]


def test_one_whose_start_cannot_succeed_has_none() -> None:
    again = pod()
    end = {"exitCode": 2, "message": "error: the model ./model.onnx does not exist"}
    again["status"]["containerStatuses"][0] |= {"restartCount": 1, "lastState": {"terminated": end}}
    found = diagnose(Observed("iris", "team", service=ksvc("Unknown"), pods=[again]))
    assert [(cause.code, cause.patience_s) for cause in found.causes] == [("bad-model", 0.0)]


@pytest.mark.parametrize(("restarts", "patience"), [(0, None), (1, 0.0)])
def test_a_container_that_ended_twice_will_go_on_so(restarts: int, patience: float | None) -> None:
    ended = pod({"waiting": {"reason": "CrashLoopBackOff"}})
    ended["status"]["containerStatuses"][0] |= {"restartCount": restarts, "lastState": {"terminated": {"exitCode": 1}}}
    found = diagnose(Observed("iris", "team", service=ksvc("Unknown"), pods=[ended]))
    assert [cause.patience_s for cause in found.causes] == [patience]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('pods "a" is forbidden: exceeded quota: small, requested: cpu=2', "quota"),
        ("pods is forbidden: failed quota: small: must specify limits.memory for: handler", "quota"),
        ("maximum memory usage per Container is 1Gi, but limit is 2Gi", "quota"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', "pods-refused"),
    ],
)
def test_pods_that_are_not_made_are_explained(message: str, code: str) -> None:
    assert creation_cause(message).code == code


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["error: s3://models/iris: there is no bucket models"], "bad-storage"),
        (["error: set MLFLOW_TRACKING_URI to the http(s) URL of the MLflow server that the model is on"], "bad-storage"),
        (["error: KFUNC_CONFIG: inference.workers: expected an integer"], "invalid-config"),
        (["warming up", "error: the model ./m.onnx is not an ONNX model"], "bad-model"),
        (['{"time":"…","level":"error","logger":"kfunc","message":"the model x does not exist"}'], "bad-model"),
        (["error: weights.onnx: onnxruntime cannot open it: Protobuf parsing failed"], "bad-model"),
        (["error: runtime onnx needs onnxruntime: pip install 'kfunc[onnx]'"], "missing-package"),
        (["error: inference.images needs Pillow: pip install 'kfunc[images]'"], "missing-package"),
        (["error: port 8080 is in use"], "invalid-config"),
        (["error: KFUNC_CONFIG: inference.tracing.endpoint: http://collector:99999 has no such port"], "invalid-config"),
        (["error: inference.logger.sink: https://sink.example.com cannot be used"], "invalid-config"),
    ],
)
def test_the_errors_at_the_start_of_a_process_are_understood(lines: list[str], code: str) -> None:
    found = startup_error(lines)
    assert found is not None
    assert found.code == code


def test_a_traceback_is_no_startup_error() -> None:
    assert startup_error(["Traceback (most recent call last):", "ValueError: bad"]) is None


def test_a_line_that_only_looks_like_json_is_kept() -> None:
    assert message_of("{not json") == "{not json"


def ksvc(ready: str, generation: int = 1, **others: tuple[str, str, str]) -> dict[str, Any]:
    told = [{"type": "Ready", "status": ready}]
    told += [{"type": name, "status": status, "reason": why, "message": text} for name, (status, why, text) in others.items()]
    status = {"observedGeneration": 1, "latestCreatedRevisionName": "iris-0a", "conditions": told}
    return {"kind": "Service", "metadata": {"name": "iris", "generation": generation}, "spec": {}, "status": status}


def revision(ready: str) -> dict[str, Any]:
    return {"kind": "Revision", "metadata": {"name": "iris-0a"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def pod(state: dict[str, Any] | None = None) -> dict[str, Any]:
    """A pod on a node, not ready, whose only container is in this state: running by default."""
    status = {
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "handler", "ready": False, "restartCount": 0, "state": state or {"running": {}}}],
    }
    labels = {"serving.knative.dev/revision": "iris-0a"}
    spec = {"containers": [{"name": "handler", "image": "example.com/iris:1"}]}
    return {
        "kind": "Pod",
        "metadata": {"name": "iris-1", "namespace": "team", "labels": labels},
        "spec": spec,
        "status": status,
    }


def event(reason: str, message: str, second: int = 0) -> dict[str, Any]:
    about = {"involvedObject": {"kind": "Pod", "name": "iris-1"}, "lastTimestamp": f"2026-11-25T14:00:0{second}Z"}
    return {"kind": "Event", "reason": reason, "message": message, "type": "Normal", **about}
