"""What the API's refusals become: each a line that says what to do. The messages are a real cluster's."""

import pytest

from kfunc.cluster.faults import refusal

CASES = [
    (401, "Unauthorized", "log in again"),
    (
        403,
        'services.serving.knative.dev "iris" is forbidden: User "ann" cannot patch resource "services" in API group '
        '"serving.knative.dev" in the namespace "team"',
        "ann may not patch services.serving.knative.dev: have a role with that right bound to you",
    ),
    (
        403,
        'pods "iris" is forbidden: exceeded quota: small, requested: limits.memory=2Gi, used: limits.memory=0, limited: '
        "limits.memory=1Gi",
        "exceeded quota: small, requested: limits.memory=2Gi, used: limits.memory=0, limited: limits.memory=1Gi: ask for less",
    ),
    (
        403,
        'configmaps "a" is forbidden: unable to create new content in namespace t because it is being terminated',
        "wait until",
    ),
    (404, 'namespaces "team" not found', "there is no namespace team: kubectl create namespace team"),
    (404, "the server could not find the requested resource", "the cluster has no Knative Serving: install it, or use"),
    (
        409,
        'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.x',
        "kubectl set the same fields: --force takes",
    ),
    (
        400,
        'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: must not set the '
        "field(s): spec.template.spec.nodeSelector",
        "Knative refuses nodeSelector until its feature kubernetes.podspec-nodeselector is on:\n  kubectl patch configmap",
    ),
    (
        400,
        'admission webhook "policy.example.com" denied the request: images must come from registry.example.com',
        "the cluster's rules (policy.example.com) refuse it: images must come from registry.example.com",
    ),
    (500, "etcdserver: request timed out", "etcdserver: request timed out"),
    (502, "", "the cluster answered 502"),
]


@pytest.mark.parametrize(("code", "said", "expected"), CASES, ids=lambda value: str(value)[:30])
def test_a_refusal_says_what_to_do(code: int, said: str, expected: str) -> None:
    error = refusal(code, {"message": said}, "Knative Service iris was not applied", "KnativeService")
    assert error.message.startswith("Knative Service iris was not applied: ")
    assert expected in error.message
    assert error.code == code
