"""Who may call the function and whom it may call, as a gateway's or a pod's policy says it."""

from typing import Any

from kfunc.manifests.egress import entry_name
from kfunc.manifests.outputs import Rendered, render
from kfunc.manifests.plan import Manifest, Release
from tests.manifests import plan_of

JWT = 'jwt: [{issuer: "https://a.example"}]'


def rendered(blocks: str, mode: str = "knative", **release: Any) -> Rendered:
    text = f"name: iris\nimage: a/iris\ndomain: example.org\ninference:\n  model: {{uri: m}}\n  mode: {mode}\n  {blocks}\n"
    return render(plan_of(text, Release(**release)))


def of_kind(result: Rendered, kind: str) -> list[Manifest]:
    return [one for manifests in result.files.values() for one in manifests if one["kind"] == kind]


def policy(result: Rendered) -> Manifest:
    (found,) = of_kind(result, "AuthorizationPolicy")
    return found


def template(result: Rendered) -> Manifest:
    made: Manifest = next(one for one in result.files["knative/service.yaml"] if one["kind"] == "Service")["spec"]["template"]
    return made


def test_a_gateways_policy_denies_and_names_only_the_functions_hosts() -> None:
    made = policy(rendered(f"access: {{{JWT}}}"))
    assert made["metadata"]["namespace"] == "istio-system"
    assert made["spec"]["action"] == "DENY"
    (rule,) = made["spec"]["rules"]
    assert rule["from"] == [{"source": {"notRequestPrincipals": ["https://a.example/*"]}}]
    (operation,) = rule["to"]
    assert all("iris.default" in host for host in operation["operation"]["hosts"])


def test_every_name_of_the_function_is_protected() -> None:
    result = rendered(f"access: {{{JWT}}}\n  traffic: {{hosts: [iris.example.com]}}", stable="iris-1")
    hosts = policy(result)["spec"]["rules"][0]["to"][0]["operation"]["hosts"]
    for prefix in "", "stable-", "candidate-", "live-", "preview-":
        assert {f"{prefix}iris.default", f"{prefix}iris.default.*", f"{prefix}iris.default:*"} <= set(hosts)
    assert {"iris.example.com", "iris.example.com:*", "iris.example.com.", "iris.example.com.:*"} <= set(hosts)


def test_a_variants_host_is_protected_too() -> None:
    variants = "strategy: ab, variants: [{name: x, revision: iris-1, weight: 50}, {name: y, weight: 50}]"
    hosts = policy(rendered(f"access: {{{JWT}}}\n  traffic: {{{variants}}}"))["spec"]["rules"][0]["to"][0]["operation"]["hosts"]
    assert {"x-iris.default.*", "y-iris.default.*"} <= set(hosts)


def test_at_a_gateway_each_condition_is_a_rule_of_its_own() -> None:
    access = f"access: {{{JWT}, subjects: [me], claims: {{groups: [ml]}}, paths: [/v2/*], public_paths: [/v2]}}"
    token, subject, groups, paths = policy(rendered(access))["spec"]["rules"]
    assert token["to"][0]["operation"]["notPaths"] == ["/v2"]
    assert subject["when"] == [{"key": "request.auth.claims[sub]", "notValues": ["me"]}]
    assert groups["when"] == [{"key": "request.auth.claims[groups]", "notValues": ["ml"]}]
    assert paths["to"][0]["operation"]["notPaths"] == ["/v2/*", "/v2"]


def test_a_token_is_passed_on_to_the_second_way_through_the_gateway() -> None:
    (authentication,) = of_kind(rendered(f"access: {{{JWT}}}"), "RequestAuthentication")
    assert authentication["spec"]["jwtRules"] == [{"issuer": "https://a.example", "forwardOriginalToken": True}]


def test_a_pods_policy_allows_whoever_fulfils_all_and_what_knative_asks_for() -> None:
    access = f"access: {{at: pod, {JWT}, claims: {{groups: [ml]}}, paths: [/v2/*]}}"
    made = policy(rendered(access))
    assert made["metadata"]["namespace"] == "default"
    assert made["spec"]["action"] == "ALLOW"
    callers, system = made["spec"]["rules"]
    assert callers == {
        "from": [{"source": {"requestPrincipals": ["https://a.example/*"]}}],
        "to": [{"operation": {"paths": ["/v2/*"]}}],
        "when": [{"key": "request.auth.claims[groups]", "values": ["ml"]}],
    }
    assert system == {"to": [{"operation": {"paths": ["/metrics", "/healthz"]}}]}


def test_the_activator_passes_where_identities_are_checked_and_that_is_said() -> None:
    result = rendered("access: {at: pod, principals: [cluster.local/ns/web/sa/shop]}")
    sources = [one["source"] for one in policy(result)["spec"]["rules"][0]["from"]]
    assert sources == [{"principals": ["cluster.local/ns/web/sa/shop"]}, {"namespaces": ["knative-serving"]}]
    assert any("activator's identity" in note.text for note in result.notes)


def test_without_knative_there_is_no_activator() -> None:
    result = rendered("access: {at: pod, namespaces: [web]}", mode="raw")
    assert policy(result)["spec"]["rules"][0]["from"] == [{"source": {"namespaces": ["web"]}}]


def test_a_check_in_the_pod_brings_a_sidecar_into_it() -> None:
    made = template(rendered("access: {at: pod, namespaces: [web]}"))
    assert made["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
    assert "sidecar.istio.io/inject" not in template(rendered(f"access: {{{JWT}}}"))["metadata"]["labels"]


def test_strict_mutual_tls_leaves_the_metrics_to_prometheus() -> None:
    result = rendered("access: {at: pod, strict_mtls: true}")
    (peer,) = of_kind(result, "PeerAuthentication")
    assert peer["spec"]["mtls"] == {"mode": "STRICT"}
    assert peer["spec"]["portLevelMtls"]["9095"] == {"mode": "PERMISSIVE"}
    assert of_kind(result, "AuthorizationPolicy") == []


def test_what_is_not_named_cannot_be_called() -> None:
    result = rendered("egress: [{host: a.example.com}, {host: a.example.com, port: 80, protocol: http}]")
    (sidecar,), (entry,) = of_kind(result, "Sidecar"), of_kind(result, "ServiceEntry")
    assert sidecar["spec"]["outboundTrafficPolicy"] == {"mode": "REGISTRY_ONLY"}
    assert entry["spec"]["exportTo"] == ["."]
    assert [port["number"] for port in entry["spec"]["ports"]] == [443, 80]
    assert template(result)["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


def test_an_empty_list_lets_nothing_out_of_the_cluster() -> None:
    result = rendered("egress: []")
    assert len(of_kind(result, "Sidecar")) == 1
    assert of_kind(result, "ServiceEntry") == []


def test_a_host_within_the_cluster_is_no_service_entry() -> None:
    result = rendered("egress: [{host: otel.observability.svc.cluster.local, port: 4318, protocol: http}]")
    assert "observability/otel.observability.svc.cluster.local" in of_kind(result, "Sidecar")[0]["spec"]["egress"][0]["hosts"]
    assert of_kind(result, "ServiceEntry") == []


def test_a_very_long_host_has_a_name_that_kubernetes_takes() -> None:
    assert len(entry_name("x" * 63, ".".join(["y" * 60] * 4))) <= 253


def test_functions_of_two_namespaces_never_share_a_policy_at_the_gateway() -> None:
    text = "name: %s\nimage: a/b\ndeploy: {namespace: %s}\ninference: {model: {uri: m}, access: {paths: [/v2/*]}}\n"
    policies = [render(plan_of(text % pair)).files["istio/access.yaml"][0] for pair in (("c", "a-b"), ("b-c", "a"))]
    assert [policy["metadata"]["name"] for policy in policies] == ["a-b.c", "a.b-c"]
