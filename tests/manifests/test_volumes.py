"""The volumes: kfunc's own, func.yaml's, the claims of models and spools, and the flags that claims need."""

from typing import Any

import pytest

from kfunc.manifests.pod import pod
from tests.manifests import plan_of

LEAST = "name: iris\nimage: example.com/iris\ninference: {model: {uri: %s}%s}\n"
CLAIMS = "needs Knative's feature kubernetes.podspec-persistent-volume-claim"
WRITES = "needs Knative's feature kubernetes.podspec-persistent-volume-write"


def made(more: str = "", rest: str = "", uri: str = "m.onnx") -> tuple[dict[str, Any], dict[str, dict[str, Any]], list[str]]:
    """Volumes by name; mounts by container and path; notes."""
    result = pod(plan_of(LEAST % (uri, more) + rest))
    volumes = {volume.pop("name"): volume for volume in result.spec.get("volumes", [])}
    mounts = {
        container["name"]: {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
        for container in result.spec["containers"]
    }
    return volumes, mounts, [note.text for note in result.notes]


def test_a_pod_that_writes_no_files_has_no_volume_and_starts_without_waiting_for_one() -> None:
    volumes, mounts, notes = made(", batcher: {}, logger: {spool: memory}")
    assert (volumes, notes) == ({}, [])
    assert set(map(len, mounts.values())) == {0}


@pytest.mark.parametrize(
    "more",
    [", models: [{uri: ./b.pt, name: b}]", ", gpu: {count: 1}", ", explain: {method: shap-tree}"],
    ids=["a runtime that writes", "a GPU", "an explainer"],
)
def test_what_writes_temporary_files_has_a_folder_for_them(more: str) -> None:
    volumes, mounts, _ = made(more)
    assert volumes == {"tmp": {"emptyDir": {}}}
    assert list(mounts["handler"]) == ["/tmp"]


def test_a_spool_in_memory_is_in_the_memory_that_the_containers_share() -> None:
    spec = pod(plan_of(LEAST % ("m.onnx", ", logger: {spool: memory}"))).spec
    (settings,) = [each["value"] for each in spec["containers"][1]["env"] if each["name"] == "KFUNC_CONFIG"]
    assert '"spool":"memory"' in settings


def test_the_spool_has_a_bound_a_quarter_above_what_the_logger_keeps() -> None:
    volumes, mounts, _ = made(", logger: {spool_max_bytes: 8388608}")
    assert volumes["spool"] == {"emptyDir": {"sizeLimit": "11Mi"}}
    assert "/var/spool/kfunc" in mounts["logger"]
    assert "/var/spool/kfunc" not in mounts["handler"]


def test_a_spool_on_a_claim_outlives_the_pod_and_needs_two_flags() -> None:
    volumes, mounts, notes = made(", logger: {spool: pvc://events/iris}")
    assert volumes["spool"] == {"persistentVolumeClaim": {"claimName": "events"}}
    assert mounts["logger"]["/var/spool/kfunc"]["subPath"] == "iris"
    assert notes == [f"inference.logger.spool {CLAIMS}", f"inference.logger.spool {WRITES}"]


def test_a_model_on_a_claim_is_read_only() -> None:
    volumes, mounts, notes = made(uri="pvc://models/iris/1")
    assert volumes["model"] == {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    assert mounts["handler"]["/mnt/claims/models"]["readOnly"] is True
    assert notes == [f"inference.model.uri {CLAIMS}"]


@pytest.mark.parametrize(
    ("given", "volume", "read_only"),
    [
        ("secret: s", {"secret": {"secretName": "s"}}, True),
        ("configMap: c", {"configMap": {"name": "c"}}, True),
        ("emptyDir: {}", {"emptyDir": {}}, False),
        ("emptyDir: {medium: Memory, sizeLimit: 1Gi}", {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}, False),
        ("persistentVolumeClaim: {claimName: p}", {"persistentVolumeClaim": {"claimName": "p"}}, False),
        ("persistentVolumeClaim: {claimName: p, readOnly: true}",
         {"persistentVolumeClaim": {"claimName": "p", "readOnly": True}}, True),
    ],
)  # fmt: skip
def test_func_yamls_volumes_are_the_handlers(given: str, volume: dict[str, Any], read_only: bool) -> None:
    volumes, mounts, _ = made(", logger: {}", f"run: {{volumes: [{{{given}, path: /data}}]}}\n")
    assert volumes["volume-0"] == volume
    assert mounts["handler"]["/data"].get("readOnly", False) == read_only
    assert "/data" not in mounts["logger"]


def test_a_volume_with_the_token_of_a_sink_is_the_loggers_as_well() -> None:
    rest = "run: {volumes: [{secret: s, path: /tokens/}, {secret: t, path: /other}]}\n"
    _, mounts, _ = made(", logger: {sink: 'http://a/', token_file: /tokens/events}", rest)
    assert "/tokens/" in mounts["logger"]
    assert "/other" not in mounts["logger"]


def test_a_file_as_a_sink_is_told_to_be_gone_with_the_pod() -> None:
    (note,) = made(", logger: {sink: 'file:events.jsonl'}")[2]
    assert note.startswith("the logger's sink file:events.jsonl is a file: in the pod it can write only below /var/spool/kfunc")


def test_a_claim_that_is_written_needs_two_flags_each_named_with_its_field() -> None:
    volume = "{persistentVolumeClaim: {claimName: p}, path: /data}"
    assert made("", f"run: {{volumes: [{volume}]}}\n")[2] == [f"run.volumes[0] {CLAIMS}", f"run.volumes[0] {WRITES}"]


def test_a_folder_for_temporary_files_of_the_users_own_replaces_ours() -> None:
    volumes, _, _ = made("", "run: {volumes: [{emptyDir: {sizeLimit: 1Gi}, path: /tmp}]}\n")
    assert volumes == {"volume-0": {"emptyDir": {"sizeLimit": "1Gi"}}}


def test_credentials_as_files_are_mounted_where_the_storage_looks_for_them() -> None:
    volumes, mounts, _ = made(", storage: {file_secret: gcs}")
    assert volumes["storage"] == {"secret": {"secretName": "gcs"}}
    assert mounts["handler"]["/var/run/secrets/kfunc/storage"]["readOnly"] is True


def test_a_model_from_elsewhere_has_a_cache_on_a_volume_of_the_pod() -> None:
    volumes, mounts, notes = made(", model_cache: {max_bytes: 8388608}", uri="s3://models/iris")
    assert volumes["model-cache"] == {"emptyDir": {"sizeLimit": "9Mi"}}
    assert "/var/cache/kfunc" in mounts["handler"]
    assert notes == []


def test_a_cache_on_a_claim_is_shared_by_functions_and_needs_two_flags() -> None:
    volumes, mounts, notes = made(", model_cache: {path: pvc://cache/team}", uri="hf://team/iris")
    assert volumes["model-cache"] == {"persistentVolumeClaim": {"claimName": "cache"}}
    assert mounts["handler"]["/var/cache/kfunc"]["subPath"] == "team"
    assert notes == [f"inference.model_cache.path {CLAIMS}", f"inference.model_cache.path {WRITES}"]


def test_sealed_models_are_decrypted_on_a_volume_in_memory() -> None:
    volumes, mounts, _ = made(uri="m.onnx.sealed, sealed: true")
    assert volumes["unsealed"] == {"emptyDir": {"medium": "Memory"}}
    assert "/run/kfunc-unsealed" in mounts["handler"]


def test_each_claim_of_several_models_is_mounted_once() -> None:
    volumes, _, _ = made(", models: [{uri: pvc://a/y, name: y}, {uri: pvc://b/z, name: z}]", uri="pvc://a/x")
    claims = {name: source["persistentVolumeClaim"]["claimName"] for name, source in volumes.items() if name != "tmp"}
    assert claims == {"model": "a", "model-1": "b"}
