"""The container's variables and resources, the pod's account and nodes. Pure.

A ServingRuntime's are read first: what the service says afterwards is put over them, or beside them in lists.
"""

from typing import Any

from kfunc.kserve.fields import Fields, put, whole_number

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


def read_container(container: Fields, function: dict[str, Any]) -> None:
    """Variables, resources and probes of the container that serves."""
    variables = [one for each in container.items("env") if (one := _variable(each))]
    for each in container.items("envFrom"):
        for kind, form in ("secretRef", "secret"), ("configMapRef", "configMap"):
            if kind in each:
                source = each.mapping(kind)
                _needed(source)
                variables.append({"value": f"{{{{ {form}:{source.text('name')} }}}}"})
    given = {one["name"] for one in variables if "name" in one}
    before = [one for one in function.get("run", {}).get("envs", []) if one.get("name") not in given]
    put(function, "run.envs", before + variables)
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
            _needed(key)
            return {"name": name, "value": f"{{{{ {form}:{key.text('name')}:{key.text('key')} }}}}"}
    source.skip(*source)
    each.leave("valueFrom", f"{name}: a variable is a text, or comes from a Secret or ConfigMap")
    return None


def _needed(source: Fields) -> None:
    if source.flag("optional"):
        source.changed("optional", "the pod does not start without it: func.yaml has no optional variables")


def _resources(resources: Fields, function: dict[str, Any]) -> None:
    for part in "requests", "limits":
        for name, amount in resources.pairs(part).items():
            if name in ("cpu", "memory"):
                put(function, f"deploy.options.resources.{part}.{name}", amount)
            elif name in GPUS:
                gpu = {} if GPUS[name] == "nvidia" else {"vendor": GPUS[name]}
                _gpu(resources, part, name, amount, gpu, function)
            elif name.startswith(MIG):
                _gpu(resources, part, name, amount, {"mig": name.removeprefix(MIG)}, function)
            elif "/" in name:
                function["inference"].setdefault("devices", {})[name] = amount
            else:
                resources.leave(part, f"{name}: func.yaml has cpu, memory and devices")


def _gpu(resources: Fields, part: str, name: str, amount: str, gpu: dict[str, Any], function: dict[str, Any]) -> None:
    count = whole_number(amount)
    if count is None:
        resources.leave(part, f"{name}: expected a whole number")
    else:
        function["inference"]["gpu"] = {"count": count, **gpu}


def read_pod(predictor: Fields, function: dict[str, Any]) -> None:
    """The pod around the container."""
    put(function, "deploy.serviceAccountName", predictor.text("serviceAccountName"))
    if "serviceAccountName" in predictor:
        message = "KServe takes the storage's credentials from its Secrets, kfunc from inference.storage.env_secret"
        predictor.changed("serviceAccountName", message)
    before = function.get("deploy", {}).get("imagePullSecret")
    secrets = [each.text("name") for each in predictor.items("imagePullSecrets")]
    put(function, "deploy.imagePullSecret", secrets[0] if secrets else "")
    for other in [*([before] if before and secrets and before != secrets[0] else []), *secrets[1:]]:
        predictor.leave("imagePullSecrets", f"{other}: func.yaml has one; put the registries into one Secret")
    nodes = function["inference"].get("scheduling", {}).get("node_selector", {})
    scheduling = {
        "node_selector": {**nodes, **predictor.pairs("nodeSelector")},
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
