"""A Deployment without Knative: how it scales, ends, and asks its containers."""

import pytest

from kfunc.manifests.autoscaling import quantity
from kfunc.manifests.outputs import Rendered, render
from kfunc.manifests.plan import Manifest
from kfunc.manifests.raw_containers import resources
from tests.manifests import plan_of


def rendered(raw: str = "", scale: str = "", more: str = "") -> Rendered:
    head = f"name: iris\nimage: a/iris\ndeploy: {{options: {{scale: {{{scale}}}}}}}\n"
    return render(plan_of(f"{head}inference:\n  model: {{uri: m}}\n  mode: raw\n  raw: {{{raw}}}\n{more}"), "service")


def notes(result: Rendered) -> str:
    return "\n".join(note.text for note in result.notes)


def of_kind(result: Rendered, kind: str) -> Manifest:
    (found,) = [one for one in result.files["raw/deployment.yaml"] if one["kind"] == kind]
    return found


def kinds(result: Rendered) -> list[str]:
    return [one["kind"] for one in result.files["raw/deployment.yaml"]]


def pod(result: Rendered) -> Manifest:
    made: Manifest = of_kind(result, "Deployment")["spec"]["template"]["spec"]
    return made


def test_cpu_at_70_percent_scales_unless_something_else_is_asked_for() -> None:
    scaler = of_kind(rendered(scale="min: 2, max: 5"), "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert scaler["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_metrics_such_as_p99_are_added_and_their_adapter_is_named() -> None:
    result = rendered("cpu: 50, metrics: [{name: kfunc_p99_seconds, target: 0.25}]")
    cpu, p99 = of_kind(result, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert cpu["resource"]["target"]["averageUtilization"] == 50
    assert p99["pods"]["target"] == {"type": "AverageValue", "averageValue": "250m"}
    assert any("metrics adapter" in note.text for note in result.notes)


def test_an_http_function_keeps_one_pod_and_the_reason_is_said() -> None:
    result = rendered(scale="min: 0, max: 5")
    assert of_kind(result, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 1
    assert any("nothing wakes a pod for an HTTP request (KEDA's HTTP add-on does" in note.text for note in result.notes)


@pytest.mark.parametrize(
    ("trigger", "fewest"),
    [
        ('{kind: kafka, address: "a:1", topic: t, group: g, target: 5}', 0),
        ('{kind: nats, address: "a:1", topic: t, group: g, target: 5}', 0),
        ('{kind: rabbitmq, address: "amqp://a", topic: t, target: 5}', 0),
        ('{kind: prometheus, address: "http://a", target: 5}', 1),
    ],
)
def test_only_a_queue_scales_to_zero(trigger: str, fewest: int) -> None:
    result = rendered(f"triggers: [{trigger}]", "min: 0")
    assert of_kind(result, "ScaledObject")["spec"]["minReplicaCount"] == fewest
    assert "HorizontalPodAutoscaler" not in kinds(result)


def test_prometheus_counts_the_functions_own_requests_unless_a_query_is_given() -> None:
    result = rendered('triggers: [{kind: prometheus, address: "http://a", target: 5}]')
    (trigger,) = of_kind(result, "ScaledObject")["spec"]["triggers"]
    assert (
        'rate(kfunc_requests_total{namespace="default",function="iris",component="handler"}[5m])'
        in trigger["metadata"]["query"]
    )


def test_a_fixed_number_of_pods_needs_no_autoscaler() -> None:
    result = rendered(scale="min: 3, max: 3")
    assert of_kind(result, "Deployment")["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler" not in kinds(result)


def test_where_something_scales_the_deployment_says_no_number() -> None:
    assert "replicas" not in of_kind(rendered(), "Deployment")["spec"]


def test_pods_are_replaced_a_quarter_at_a_time() -> None:
    result = rendered()
    assert of_kind(result, "Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert of_kind(result, "PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


def test_pods_are_spread_over_zones_and_nodes_as_far_as_there_are_several() -> None:
    spread = pod(rendered())["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {one["whenUnsatisfiable"] for one in spread} == {"ScheduleAnyway"}
    assert "topologySpreadConstraints" not in pod(rendered("zones: false"))


def test_every_container_waits_for_the_endpoints_before_it_ends_and_the_grace_is_long_enough() -> None:
    made = pod(rendered("drain_s: 7", more="  batcher: {}\n  logger: {}\n  grace_s: 20\n"))
    assert all("time.sleep(7)" in one["lifecycle"]["preStop"]["exec"]["command"][-1] for one in made["containers"])
    assert made["terminationGracePeriodSeconds"] == 7 + 20 + 5


def test_readiness_is_the_outermosts_and_liveness_each_containers_own() -> None:
    handler, batcher, logger = pod(rendered(more="  batcher: {}\n  logger: {}\n"))["containers"]
    assert logger["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert logger["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": 8080}
    assert handler["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": 9097}
    assert batcher["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": 9096}
    assert "readinessProbe" not in handler


def test_every_container_has_requests_and_limits_for_a_resource_quota() -> None:
    for container in pod(rendered(more="  batcher: {}\n  logger: {}\n"))["containers"]:
        assert {kind: set(container["resources"][kind]) for kind in ("requests", "limits")} == {
            "requests": {"cpu", "memory"},
            "limits": {"cpu", "memory"},
        }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ({"cpu": "250m", "memory": "256Mi"}, {"cpu": "1", "memory": "512Mi"})),
        ({"requests": {"cpu": "4"}}, ({"cpu": "4", "memory": "256Mi"}, {"cpu": "4", "memory": "512Mi"})),
        ({"limits": {"memory": "64Mi"}}, ({"cpu": "250m", "memory": "64Mi"}, {"cpu": "1", "memory": "64Mi"})),
        (
            {"limits": {"nvidia.com/gpu": "1"}},
            ({"cpu": "250m", "memory": "256Mi"}, {"cpu": "1", "memory": "512Mi", "nvidia.com/gpu": "1"}),
        ),
    ],
)
def test_what_is_open_lies_on_the_allowed_side_of_what_is_given(
    given: Manifest, expected: tuple[dict[str, str], dict[str, str]]
) -> None:
    made = resources(given)
    assert (made["requests"], made["limits"]) == expected


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (0.25, "250m"), (1e12, "1000000000000"), (1.0005, "1000m")])
def test_a_target_is_a_quantity(value: float, text: str) -> None:
    assert quantity(value) == text


def test_metrics_have_a_port_that_prometheus_finds() -> None:
    services = [one for one in rendered().files["raw/deployment.yaml"] if one["kind"] == "Service"]
    assert [one["metadata"]["name"] for one in services] == ["iris", "iris-metrics"]
    assert services[1]["spec"]["ports"] == [{"name": "metrics", "port": 9097, "targetPort": "metrics"}]


def test_settings_that_are_too_long_for_a_variable_are_in_a_config_map() -> None:
    names = ", ".join(f"x-{'h' * 200}-{number}" for number in range(1000))
    assert "ConfigMap" in kinds(rendered(more=f"  logger: {{headers: [{names}]}}\n"))


@pytest.mark.parametrize(
    ("scale", "more", "field"),
    [
        ("metric: rps", "", "deploy.options.scale.metric"),
        ("target: 5", "", "deploy.options.scale.target"),
        ("", "  scaling: {window_s: 60}\n", "inference.scaling.window_s"),
        ("", "  timeouts: {idle_s: 4}\n", "inference.timeouts.idle_s"),
        ("", "  resources: {queue_proxy: {limits: {cpu: '1'}}}\n", "inference.resources.queue_proxy"),
    ],
)
def test_what_only_knative_does_is_named(scale: str, more: str, field: str) -> None:
    assert f"without Knative these have no effect: {field}" in notes(rendered(scale=scale, more=more))


def test_what_a_deployment_has_as_well_is_not_named() -> None:
    more = "  scaling: {progress_deadline_s: 900}\n  logger: {sink: 'http://a'}\n  resources: {logger: {limits: {cpu: '2'}}}\n"
    assert "no effect" not in notes(rendered(scale="min: 1, max: 3", more=more))


def test_what_is_said_of_any_pod_is_said_but_no_setting_of_knatives() -> None:
    more = "  accelerator: cuda\n  logger: {sink: 'file:a'}\n  scheduling: {node_selector: {a: b}}\n"
    said = notes(rendered(more=more))
    assert "is a file: in the pod it can write only below" in said
    assert "no GPU is asked for" in said
    assert "Knative's feature" not in said
