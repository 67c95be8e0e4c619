"""Replicas, metrics, times, canary: what the component says beside its pod. Pure."""

from typing import Any

from kfunc.config.knative import MAX_TIMEOUT_S
from kfunc.kserve.fields import Fields, number_of, put, whole_number

MODES = {"serverless": "knative", "knative": "knative", "rawdeployment": "raw", "standard": "raw"}
AUTOSCALING = "autoscaling.knative.dev/"
# Annotations that are fields in func.yaml, as numbers.
NUMBERS = {
    "min-scale": "deploy.options.scale.min",
    "minScale": "deploy.options.scale.min",
    "max-scale": "deploy.options.scale.max",
    "maxScale": "deploy.options.scale.max",
    "initial-scale": "inference.scaling.initial",
    "activation-scale": "inference.scaling.activation",
    "target": "deploy.options.scale.target",
    "target-utilization-percentage": "deploy.options.scale.utilization",
    "panic-window-percentage": "inference.scaling.panic_window_percentage",
    "panic-threshold-percentage": "inference.scaling.panic_threshold_percentage",
    "target-burst-capacity": "inference.scaling.burst_capacity",
}
TIMES = {
    "window": "inference.scaling.window_s",
    "scale-down-delay": "inference.scaling.scale_down_delay_s",
    "scale-to-zero-pod-retention-period": "inference.scaling.retention_s",
}
SECONDS = {"s": 1, "m": 60, "h": 3600}


def read_scaling(predictor: Fields, function: dict[str, Any]) -> None:
    """Replicas and what decides their number."""
    low, high = predictor.number("minReplicas"), predictor.number("maxReplicas")
    if low is None and "min" not in function.get("deploy", {}).get("options", {}).get("scale", {}):
        put(function, "deploy.options.scale.min", 1)
        predictor.changed(
            "minReplicas", "KServe keeps one pod unless told otherwise: deploy.options.scale.min 0 scales to zero"
        )
    put(function, "deploy.options.scale.min", low)
    put(function, "deploy.options.scale.max", high)
    metric = predictor.text("scaleMetric") or "concurrency"
    target = predictor.number("scaleTarget")
    if metric in ("cpu", "memory"):
        put(function, "inference.scaling.resource_metric", metric)
    elif "scaleMetric" in predictor:
        put(function, "deploy.options.scale.metric", metric)
    put(function, "deploy.options.scale.target", target)
    put(function, "deploy.options.resources.limits.concurrency", predictor.number("containerConcurrency"))
    predictor.skip("scaleMetricType")
    if "autoScaling" in predictor:
        predictor.leave(
            "autoScaling", "metrics of KEDA and HPA: inference.raw.triggers and inference.raw.metrics (docs/raw.md)"
        )


def read_times(predictor: Fields, function: dict[str, Any]) -> None:
    """How long an answer may take."""
    timeout = predictor.number("timeout")
    if timeout is not None:
        put(function, "inference.timeout_s", timeout)
        if timeout > MAX_TIMEOUT_S:
            predictor.changed(
                "timeout", f"Knative itself allows {MAX_TIMEOUT_S} s unless its max-revision-timeout-seconds is more"
            )


def read_canary(predictor: Fields, function: dict[str, Any]) -> None:
    """The new revision's part of the traffic."""
    percent = predictor.number("canaryTrafficPercent")
    if percent is None:
        return
    if percent == 0:
        put(function, "inference.traffic", {"strategy": "blue-green"})
        predictor.changed(
            "canaryTrafficPercent", "0: nobody gets the new revision until kfunc rollout promotes it (blue-green)"
        )
        return
    steps = sorted({step for step in (percent, 100) if 0 < step <= 100})
    put(function, "inference.traffic", {"strategy": "canary", "steps": steps})
    predictor.changed("canaryTrafficPercent", "the first step of inference.traffic; kfunc rollout goes through the steps")


def read_annotations(metadata: Fields, function: dict[str, Any]) -> None:
    """Labels and annotations: those that say how to scale become fields, KServe's own are not needed."""
    labels, annotations = metadata.pairs("labels"), metadata.pairs("annotations")
    if labels.pop("networking.knative.dev/visibility", "") in ("cluster-local", "cluster_local"):
        put(function, "inference.visibility", "cluster-local")
    if labels.pop("networking.kserve.io/visibility", "") == "cluster-local":
        put(function, "inference.visibility", "cluster-local")
    put(function, "deploy.labels", [{"key": key, "value": value} for key, value in labels.items() if "kserve.io/" not in key])
    kept = {}
    for key, value in annotations.items():
        if key.startswith(AUTOSCALING):
            _autoscaling(metadata, key, value, function)
        elif "kserve.io/" in key:
            _kserve(metadata, key, value, function)
        elif key != "kubectl.kubernetes.io/last-applied-configuration":
            kept[key] = value
    if kept:
        function.setdefault("deploy", {})["annotations"] = kept


def _autoscaling(metadata: Fields, key: str, value: str, function: dict[str, Any]) -> None:
    name = key.removeprefix(AUTOSCALING)
    if name in NUMBERS and (number := number_of(value)) is not None:
        put(function, NUMBERS[name], number)
    elif name in TIMES and (count := whole_number(value[:-1])) is not None and value[-1] in SECONDS:
        put(function, TIMES[name], count * SECONDS[value[-1]])
    elif name == "metric" and value in ("concurrency", "rps"):
        put(function, "deploy.options.scale.metric", value)
    elif name == "metric" and value in ("cpu", "memory"):
        put(function, "inference.scaling.resource_metric", value)
    elif name != "class":
        metadata.leave("annotations", f"{key}: {value} has no field in func.yaml")


def _kserve(metadata: Fields, key: str, value: str, function: dict[str, Any]) -> None:
    name = key.partition("/")[2]
    if name == "deploymentMode":
        mode = MODES.get(value.lower())
        if mode is None:
            metadata.leave("annotations", f"{key}: {value}; several models in one function: inference.model.uri of a folder")
        elif mode != "knative":
            put(function, "inference.mode", mode)
    elif name == "enable-prometheus-scraping" and value == "true":
        function["inference"]["monitoring"] = {}
    elif name == "autoscalerClass":
        metadata.changed("annotations", f"{key}: {value}; inference.raw.autoscaler chooses it (docs/raw.md)")
    else:
        metadata.leave("annotations", f"{key}: {value} is KServe's own")
