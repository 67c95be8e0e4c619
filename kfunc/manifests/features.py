"""What is off in Knative until somebody sets it: which field needs it, and the command that does. Pure."""

from kfunc.manifests.plan import Note

PATCH = 'kubectl patch configmap %s -n knative-serving --type merge -p \'{"data":{"%s":"%s"}}\''
INITIAL_SCALE_ZERO = "allow-zero-initial-scale"


def feature(flag: str, field: str) -> Note:
    """The note for a field of func.yaml that Knative takes only with a feature flag."""
    return Note(f"{field} needs Knative's feature {flag}", PATCH % ("config-features", flag, "enabled"), setting=True)


def autoscaler_setting(name: str, field: str) -> Note:
    """The note for a field that the autoscaler's configuration must allow."""
    return Note(f"{field} needs Knative's setting {name}", PATCH % ("config-autoscaler", name, "true"), setting=True)
