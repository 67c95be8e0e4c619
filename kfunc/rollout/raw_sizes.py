"""How many pods a Deployment has at least: a number of its own, or its autoscaler's, raised while it takes over. Pure."""

from kfunc.cluster.kinds import Key
from kfunc.manifests.plan import Manifest

FLOORS = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas", 1),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount", 0),
}
"""Kinds of autoscalers, with their fields for the fewest and the most pods, and the fewest where nothing is said."""


def free(manifests: dict[Key, Manifest]) -> dict[Key, Manifest]:
    """The same, without the number of pods that an autoscaler had given a Deployment."""
    scaled = {str(one["spec"]["scaleTargetRef"]["name"]) for key, one in manifests.items() if key[0] in FLOORS}
    return {key: _without_number(one) if key[0] == "Deployment" and key[2] in scaled else one for key, one in manifests.items()}


def _without_number(deployment: Manifest) -> Manifest:
    spec = {name: value for name, value in deployment["spec"].items() if name != "replicas"}
    return deployment | {"spec": spec}


def sized(manifests: dict[Key, Manifest], name: str, pods: int, live: dict[Key, Manifest]) -> dict[Key, Manifest]:
    """The same with at least so many pods of the Deployment, as far as its autoscaler may, and never fewer than now."""
    found = _scaler(manifests, name)
    if found is None:
        keys = [key for key in manifests if key[0] == "Deployment" and key[2] == name]
        return manifests | {key: _raised(manifests[key], "replicas", pods, 0, live.get(key)) for key in keys}
    scaler, (field, most, least) = manifests[found], FLOORS[found[0]]
    ceiling = int(scaler["spec"].get(most) or 0)
    return manifests | {found: _raised(scaler, field, pods, ceiling, live.get(found), least)}


def _raised(manifest: Manifest, field: str, pods: int, most: int, live: Manifest | None, least: int = 1) -> Manifest:
    own = int(manifest["spec"].get(field, least))
    now = int((live or {"spec": {}})["spec"].get(field) or 0)
    wished = max(pods, now)
    fewest = max(own, min(wished, most) if most else wished)
    return manifest if fewest == own else manifest | {"spec": manifest["spec"] | {field: fewest}}


def floor(manifests: dict[Key, Manifest], name: str) -> int:
    """The fewest pods that a Deployment is to have."""
    found = _scaler(manifests, name)
    if found is not None:
        field, _, least = FLOORS[found[0]]
        return int(manifests[found]["spec"].get(field, least))
    deployments = [one for key, one in manifests.items() if key[0] == "Deployment" and key[2] == name]
    return int(deployments[0]["spec"].get("replicas", 1)) if deployments else 0


def available(live: dict[Key, Manifest], namespace: str, name: str) -> int:
    """How many ready pods a Deployment has."""
    deployment = live.get(("Deployment", namespace, name), {})
    return int((deployment.get("status") or {}).get("availableReplicas") or 0)


def as_allowed(pods: int, manifests: dict[Key, Manifest], name: str) -> int:
    """So many pods, or the most that a Deployment's autoscaler allows."""
    found = _scaler(manifests, name)
    most = int(manifests[found]["spec"].get(FLOORS[found[0]][1]) or 0) if found is not None else 0
    return min(pods, most) if most else pods


def _scaler(manifests: dict[Key, Manifest], name: str) -> Key | None:
    scalers = [key for key, one in manifests.items() if key[0] in FLOORS and one["spec"]["scaleTargetRef"]["name"] == name]
    return scalers[0] if scalers else None
