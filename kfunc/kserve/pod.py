"""The container's variables and resources, the pod's volumes, account and nodes. Pure."""

from typing import Any

from kfunc.kserve.fields import Fields, put

GPUS = {"nvidia.com/gpu": "nvidia", "amd.com/gpu": "amd", "gpu.intel.com/i915": "intel"}
MIG = "nvidia.com/mig-"
PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
DEFAULTED = (
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "restartPolicy",
    "dnsPolicy",
    "schedulerName",
)
SOURCES = {"secret": "secretName", "configMap": "name", "persistentVolumeClaim": "claimName"}


def read_container(container: Fields, function: dict[str, Any]) -> None:
    """Variables, resources and probes of the container that serves."""
    variables = [one for each in container.items("env") if (one := _variable(each))]
    for each in container.items("envFrom"):
        for kind, form in ("secretRef", "secret"), ("configMapRef", "configMap"):
            if kind in each:
                variables.append({"value": f"{{{{ {form}:{each.mapping(kind).text('name')} }}}}"})
    put(function, "run.envs", variables)
    _resources(container.mapping("resources"), function)
    for probe in PROBES:
        if probe in container:
            container.leave(probe, "readiness is the model's own, and each process watches itself")
    container.skip(*DEFAULTED)
    if "securityContext" in container:
        container.leave("securityContext", "inference.security: the pod never runs as root")


def _variable(each: Fields) -> dict[str, str] | None:
    name = each.text("name")
    if name == "STORAGE_URI":
        each.skip("value")
        return None
    if "valueFrom" not in each:
        return {"name": name, "value": each.text("value")}
    source = each.mapping("valueFrom")
    for kind, form in ("secretKeyRef", "secret"), ("configMapKeyRef", "configMap"):
        if kind in source:
            key = source.mapping(kind)
            key.skip("optional")
            return {"name": name, "value": f"{{{{ {form}:{key.text('name')}:{key.text('key')} }}}}"}
    source.skip(*source)
    each.leave("valueFrom", f"{name}: a variable is a text, or comes from a Secret or ConfigMap")
    return None


def _resources(resources: Fields, function: dict[str, Any]) -> None:
    for part in "requests", "limits":
        for name, amount in resources.pairs(part).items():
            if name in ("cpu", "memory"):
                put(function, f"deploy.options.resources.{part}.{name}", amount)
            elif name in GPUS:
                gpu = {} if GPUS[name] == "nvidia" else {"vendor": GPUS[name]}
                function["inference"]["gpu"] = {"count": int(amount) if amount.isdigit() else 1, **gpu}
            elif name.startswith(MIG):
                function["inference"]["gpu"] = {"mig": name.removeprefix(MIG), "count": int(amount) if amount.isdigit() else 1}
            elif "/" in name:
                function["inference"].setdefault("devices", {})[name] = amount
            else:
                resources.leave(part, f"{name}: func.yaml has cpu, memory and devices")


def read_pod(predictor: Fields, container: Fields, function: dict[str, Any]) -> None:
    """The pod around the container."""
    put(function, "deploy.serviceAccountName", predictor.text("serviceAccountName"))
    if "serviceAccountName" in predictor:
        message = "KServe takes the storage's credentials from its Secrets, kfunc from inference.storage.env_secret"
        predictor.changed("serviceAccountName", message)
    secrets = [each.text("name") for each in predictor.items("imagePullSecrets")]
    put(function, "deploy.imagePullSecret", secrets[0] if secrets else "")
    for other in secrets[1:]:
        predictor.leave("imagePullSecrets", f"{other}: func.yaml has one; put the registries into one Secret")
    _volumes(predictor, container, function)
    scheduling = {
        "node_selector": predictor.pairs("nodeSelector"),
        "tolerations": [_toleration(each) for each in predictor.items("tolerations")],
        "priority_class": predictor.text("priorityClassName"),
        "runtime_class": predictor.text("runtimeClassName"),
    }
    for each in predictor.items("topologySpreadConstraints"):
        each.skip("maxSkew", "whenUnsatisfiable", "labelSelector")
        scheduling["spread"] = "zone" if each.text("topologyKey").endswith("/zone") else "node"
    for name, value in scheduling.items():
        put(function, f"inference.scheduling.{name}", value)
    grace = predictor.number("terminationGracePeriodSeconds")
    put(function, "inference.grace_s", grace)
    predictor.skip(*DEFAULTED)
    if "affinity" in predictor:
        predictor.leave("affinity", "inference.scheduling has node_selector, tolerations and spread")
    if "workerSpec" in predictor:
        predictor.leave("workerSpec", "kfunc does not spread one model over several nodes")
    if "deploymentStrategy" in predictor:
        predictor.leave("deploymentStrategy", "inference.raw.max_unavailable (docs/raw.md)")


def _toleration(each: Fields) -> dict[str, Any]:
    fields = {
        "key": each.text("key"),
        "operator": each.text("operator"),
        "value": each.text("value"),
        "effect": each.text("effect"),
    }
    seconds = each.number("tolerationSeconds")
    return {name: value for name, value in fields.items() if value} | ({} if seconds is None else {"toleration_s": seconds})


def _volumes(predictor: Fields, container: Fields, function: dict[str, Any]) -> None:
    places = {mount.text("name"): mount for mount in container.items("volumeMounts")}
    volumes = []
    for volume in predictor.items("volumes"):
        name = volume.text("name")
        mount = places.pop(name, None)
        path = mount.text("mountPath") if mount is not None else ""
        source = _source(volume)
        if source is None or not path:
            volume.leave(name, "func.yaml mounts Secrets, ConfigMaps, claims and emptyDirs, each at a path")
            volume.skip(*volume)
        else:
            volumes.append({**source, "path": path})
            if mount is not None:
                mount.skip("readOnly")
    put(function, "run.volumes", volumes)


def _source(volume: Fields) -> dict[str, Any] | None:
    if "emptyDir" in volume:
        folder = volume.mapping("emptyDir")
        values = {"medium": folder.text("medium"), "sizeLimit": folder.text("sizeLimit")}
        return {"emptyDir": {name: value for name, value in values.items() if value}}
    for kind, field in SOURCES.items():
        if kind in volume:
            inner = volume.mapping(kind)
            named = inner.text(field)
            if kind != "persistentVolumeClaim":
                return {kind: named}
            return {kind: {"claimName": named, **({"readOnly": True} if inner.flag("readOnly") else {})}}
    return None
