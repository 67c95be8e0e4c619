"""What all spans and metrics of a process are of: the attributes of its resource. Sans-IO.

Names are OpenTelemetry's (service.*, faas.*, k8s.*); a Knative Service is a function as a service, its revision the version.
"""

from collections.abc import Mapping

import kfunc
from kfunc.config.pod import PodConfig

SDK = {"telemetry.sdk.name": "kfunc", "telemetry.sdk.language": "python", "telemetry.sdk.version": kfunc.__version__}


def attributes(config: PodConfig, component: str, environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Of a process; `given` are OTEL_RESOURCE_ATTRIBUTES, which count before what is found here."""
    service, revision = environ.get("K_SERVICE", ""), environ.get("K_REVISION", "")
    pod, configuration = environ.get("HOSTNAME", ""), environ.get("K_CONFIGURATION", "")
    in_cluster = bool(environ.get("KUBERNETES_SERVICE_HOST"))
    name = given.get("service.name") or service or config.function
    instance = f"{pod or 'local'}/{component}"
    found = {
        "service.name": name,
        "service.namespace": config.namespace,
        "service.version": revision,
        "service.instance.id": instance,
        "faas.name": service,
        "faas.version": revision,
        "faas.instance": pod if service else "",
        "knative.configuration": configuration,
        "k8s.namespace.name": config.namespace if in_cluster else "",
        "k8s.pod.name": pod if in_cluster else "",
        "k8s.container.name": component if in_cluster else "",
        "kfunc.component": component,
        "kfunc.function": config.function,
    }
    return {key: value for key, value in {**SDK, **found, **given}.items() if value}
