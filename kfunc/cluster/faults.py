"""What the cluster's API answers instead of doing what it was asked, in words that say what to do. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from kfunc.cluster.kinds import KINDS
from kfunc.errors import ClusterError

UNAUTHORISED, FORBIDDEN, MISSING, CONFLICT = 401, 403, 404, 409
WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied the request:? ?(.*)', re.DOTALL)
NOT_ALLOWED = re.compile(r'User "([^"]*)" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')
NO_NAMESPACE = re.compile(r'namespaces "([^"]+)" not found')
MANAGER = re.compile(r'conflicts? with "([^"]+)"')
MUST_NOT_SET = re.compile(r"must not set the field\(s\): ([\w.\[\], ]+)")
FLAGS = {
    "affinity": "kubernetes.podspec-affinity",
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "tolerations": "kubernetes.podspec-tolerations",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "runtimeClassName": "kubernetes.podspec-runtimeclassname",
    "persistentVolumeClaim": "kubernetes.podspec-persistent-volume-claim",
}
"""The fields that Knative refuses until a feature is on."""
ENABLE = 'kubectl patch configmap config-features -n knative-serving --type merge -p \'{"data":{"%s":"enabled"}}\''


def refusal(code: int, status: Mapping[str, Any], about: str, kind: str = "") -> ClusterError:
    """The error for an answer of the API; `status` is its body (a Status), `about` what was done to what."""
    said = str(status.get("message") or "").strip()
    locked_out = code == UNAUTHORISED or (
        code == FORBIDDEN and bool(NOT_ALLOWED.search(said))
    )  # not a quota's or a policy's 403
    return ClusterError(f"{about}: {_words(code, said, kind)}", code, is_locked_out=locked_out)


def _words(code: int, said: str, kind: str) -> str:
    if code == UNAUTHORISED:
        return "the cluster does not know you (401): log in again, or check the user of this context in your kubeconfig"
    if "exceeded quota" in said:  # Kubernetes' own words, or Knative's webhook, which tries a pod
        return f"{_after(said, 'exceeded quota')}: ask for less in deploy.options.resources, or have the quota raised"
    if webhook := WEBHOOK.search(said):
        return _refused_by(webhook[1], webhook[2].strip())
    if code == FORBIDDEN and (denied := NOT_ALLOWED.search(said)):
        who, verb, resource, group = denied.groups()
        allowed = f"{resource}.{group}" if group else resource
        return f"{who} may not {verb} {allowed}: have a role with that right bound to you"
    if code == FORBIDDEN and "being terminated" in said:
        return "the namespace is being deleted: wait until it is gone, or use another one"
    if code == MISSING and (found := NO_NAMESPACE.search(said)):
        return f"there is no namespace {found[1]}: kubectl create namespace {found[1]}"
    if code == MISSING and kind and "could not find the requested resource" in said and KINDS[kind].needs:
        return f"the cluster has no {KINDS[kind].needs}: install it{_without(kind)}"
    if code == CONFLICT and MANAGER.search(said):
        managers = ", ".join(dict.fromkeys(MANAGER.findall(said)))
        return f"{managers} set the same fields: --force takes them over"
    return said or f"the cluster answered {code}"


def _refused_by(webhook: str, said: str) -> str:
    """What an admission webhook said; of Knative's the feature that allows what was refused."""
    said = said.removeprefix("validation failed: ")
    fields = MUST_NOT_SET.search(said)
    for field, flag in FLAGS.items():
        if fields and field in fields[1]:
            return f"Knative refuses {field} until its feature {flag} is on:\n  {ENABLE % flag}"
    return f"the cluster's rules ({webhook}) refuse it: {said or 'no reason given'}"


def _after(text: str, words: str) -> str:
    return words + text.partition(words)[2].partition(": spec.template")[0]


def _without(kind: str) -> str:
    return ", or use inference.mode: raw" if KINDS[kind].needs == KINDS["KnativeService"].needs else ""
