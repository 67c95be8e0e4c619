"""Kubernetes' recommended labels, as kfunc's objects have them and are found by them."""

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_LABEL = "app.kubernetes.io/managed-by"


def own_labels(function: str) -> dict[str, str]:
    """What all objects of a function that kfunc has made have."""
    return {NAME_LABEL: function, MANAGED_LABEL: "kfunc"}
