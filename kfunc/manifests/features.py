"""Knative's feature flags: which one a field of a pod needs, and the command that sets it. Pure."""

from kfunc.manifests.plan import Note

PATCH = 'kubectl patch configmap config-features -n knative-serving --type merge -p \'{"data":{"%s":"enabled"}}\''


def feature(flag: str, field: str) -> Note:
    """The note for a field of func.yaml that Knative takes only with a flag that is off by default."""
    return Note(f"{field} needs Knative's feature {flag}", PATCH % flag)
