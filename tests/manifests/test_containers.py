"""The containers: who owns the port, who talks to whom, what each has and may do."""

from typing import Any

import pytest

from kfunc.manifests.pod import pod
from tests.manifests import plan_of

LEAST = "name: iris\nimage: example.com/iris\ninference: {model: {uri: m.onnx}%s}\n"
SERVER = ", server: {kind: triton, image: example.com/triton, sidecar_image: example.com/kfunc, args: [a, $(B)]}"
BOTH = ", batcher: {}, logger: {}"


def containers(more: str = "", rest: str = "") -> dict[str, Any]:
    """By their names, in order."""
    return {container["name"]: container for container in pod(plan_of(LEAST % more + rest)).spec["containers"]}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("", ["handler"]),
        (", batcher: {}", ["handler", "batcher"]),
        (", logger: {}", ["handler", "logger"]),
        (BOTH, ["handler", "batcher", "logger"]),
    ],
)
def test_the_handler_is_the_first_container_and_the_last_owns_port_and_probe(more: str, names: list[str]) -> None:
    made = containers(more)
    assert list(made) == names
    owners = [name for name, container in made.items() if "ports" in container]
    assert owners == [name for name, container in made.items() if "readinessProbe" in container] == names[-1:]


def test_between_the_containers_are_sockets_that_need_no_volume() -> None:
    made = containers(BOTH)
    assert made["handler"]["args"] == ["--listen=unix:@kfunc/handler"]
    assert made["batcher"]["args"] == ["--listen=unix:@kfunc/batcher", "--upstream=unix:@kfunc/handler"]
    assert made["logger"]["args"][:2] == ["--listen=0.0.0.0:8080", "--upstream=unix:@kfunc/batcher"]


def test_the_outermost_shows_the_metrics_of_all() -> None:
    assert containers(BOTH)["logger"]["args"][2:] == ["--scrape=127.0.0.1:9096", "--scrape=127.0.0.1:9097"]
    assert containers(SERVER + ", logger: {}")["logger"]["args"][2:] == []


@pytest.mark.parametrize(("page", "kept"), [("local", True), ("everyone", True), ("none", False), ("auto", False)])
def test_all_keep_the_last_requests_where_the_page_shows_them(page: str, kept: bool) -> None:
    for container in containers(f"{BOTH}, page: {page}").values():
        assert ("--recent=64" in container["args"]) is kept


def test_readiness_is_the_models_without_a_period_so_that_queue_proxy_asks_all_the_time() -> None:
    ready = {"httpGet": {"path": "/v2/health/ready", "port": 8080}}
    assert containers()["handler"]["readinessProbe"] == ready | {"successThreshold": 1}


def test_grpc_makes_the_port_h2c() -> None:
    assert containers()["handler"]["ports"] == [{"name": "http1", "containerPort": 8080}]
    assert containers(", protocols: [v2, grpc]")["handler"]["ports"] == [{"name": "h2c", "containerPort": 8080}]


def test_every_container_of_ours_runs_one_image_so_that_a_node_pulls_one() -> None:
    assert {container["image"] for container in containers(BOTH).values()} == {"example.com/iris"}


def test_a_foreign_server_is_reached_over_tcp_and_its_sidecars_have_their_own_image() -> None:
    made = containers(SERVER + BOTH)
    assert made["handler"]["image"] == "example.com/triton"
    assert made["handler"]["args"] == ["a", "$$(B)"]
    assert made["batcher"]["args"][1] == "--upstream=127.0.0.1:8000"
    assert {made["batcher"]["image"], made["logger"]["image"]} == {"example.com/kfunc"}
    assert "KFUNC_CONFIG" not in [variable["name"] for variable in made["handler"]["env"]]


@pytest.mark.parametrize(
    ("kind", "port", "path"),
    [
        ("triton", 8000, "/v2/health/ready"),
        ("tfserving", 8501, "/v1/models/iris"),
        ("torchserve", 8080, "/ping"),
        ("mlserver", 8080, "/v2/health/ready"),
        ("vllm", 8000, "/health"),
    ],
)
def test_a_foreign_server_alone_owns_its_port_and_says_by_itself_when_it_is_ready(kind: str, port: int, path: str) -> None:
    server = containers(f", server: {{kind: {kind}, image: example.com/server}}")["handler"]
    assert server["ports"] == [{"name": "http1", "containerPort": port}]
    assert server["readinessProbe"] == {"httpGet": {"path": path, "port": port}, "successThreshold": 1}


def test_no_container_is_root_or_has_capabilities_or_writes_to_its_image() -> None:
    for container in containers(BOTH).values():
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_the_images_own_user_can_be_kept_and_the_servers_files_written() -> None:
    made = containers(SERVER + BOTH + ", security: {run_as_user: 0, read_only_root: false}")
    assert "runAsUser" not in made["handler"]["securityContext"]
    assert not made["handler"]["securityContext"]["readOnlyRootFilesystem"]
    assert made["logger"]["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.parametrize(
    ("more", "limits"),
    [
        (", gpu: {}", {"nvidia.com/gpu": "1"}),
        (", gpu: {count: 2, mig: 1g.5gb}", {"nvidia.com/mig-1g.5gb": "2"}),
        (", gpu: {vendor: amd}", {"amd.com/gpu": "1"}),
        (", gpu: {vendor: intel}", {"gpu.intel.com/i915": "1"}),
        (", devices: {sgx.intel.com/epc: 10Mi}", {"sgx.intel.com/epc": "10Mi"}),
    ],
)
def test_devices_are_limits_of_the_handler(more: str, limits: dict[str, str]) -> None:
    made = containers(more + ", batcher: {}")
    assert made["handler"]["resources"] == {"limits": limits}
    assert set(made["batcher"]["resources"]["limits"]) == {"cpu", "memory"}


def test_resources_that_are_not_given_are_not_stated() -> None:
    assert "resources" not in containers()["handler"]


def test_no_service_of_the_namespace_puts_variables_into_the_pod_and_no_token_is_in_it() -> None:
    spec = pod(plan_of(LEAST % "")).spec
    assert (spec["enableServiceLinks"], spec["automountServiceAccountToken"]) == (False, False)


def test_an_account_of_its_own_brings_its_token() -> None:
    spec = pod(plan_of(LEAST % "" + "deploy: {serviceAccountName: iris, imagePullSecret: pull}\n")).spec
    assert spec["serviceAccountName"] == "iris"
    assert "automountServiceAccountToken" not in spec
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
