"""The environment of the containers. Pure.

Kubernetes replaces `$(NAME)` in values by other variables, so that every value is written in a form
that comes out as what func.yaml says.
"""

import hashlib
import re
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from kfunc.config import pod
from kfunc.config.brokers import DEFAULT, SCHEME, broker_url
from kfunc.config.function import Env
from kfunc.config.locations import claim
from kfunc.config.logger import MEMORY, SPOOL_PATH, SinkSettings
from kfunc.config.model_addresses import is_remote
from kfunc.config.places import CONFIGURATION, MODEL_CACHE
from kfunc.config.pod import PodConfig
from kfunc.manifests.images import variant
from kfunc.manifests.plan import Manifest, Plan, metadata
from kfunc.manifests.scratch import temporary

FILE = "config.json"
FROM_KEY = re.compile(r"\{\{\s*(secret|configMap):([-.\w]+):([-._a-zA-Z0-9]+)\s*\}\}")
FROM_ALL = re.compile(r"\{\{\s*(secret|configMap):([-.\w]+)\s*\}\}")


def literal(text: str) -> str:
    """A value that Kubernetes reads as `text` itself: `$(A)` is written `$$(A)`."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def settings(plan: Plan) -> str:
    """The value of KFUNC_CONFIG: what differs from the defaults, which the pod's kfunc has as well."""
    config = for_the_cluster(plan)
    first = {"version": config.version, "function": config.function, "namespace": config.namespace}
    model = {"name": config.model.name, "uri": config.model.uri}
    return msgspec.json.encode(first | {"model": {}} | given(config) | {"model": model | given(config.model)}).decode()


def fits(text: str) -> bool:
    """Whether settings fit into a variable; longer ones are in a ConfigMap."""
    return len(literal(text).encode()) <= pod.MAX_VARIABLE_BYTES


def configuration(plan: Plan) -> Manifest | None:
    """The ConfigMap of settings that are too long for a variable, named by their hash."""
    text = settings(plan)
    if fits(text):
        return None
    name = f"{plan.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    about = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(plan, name)}
    return about | {"immutable": True, "data": {FILE: text}}


def given(block: Struct) -> dict[str, Any]:
    """The fields of a mapping that have another value than their default."""
    result = {}
    for field in msgspec.structs.fields(block):
        value = getattr(block, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value is not UNSET and value != default:
            result[field.name] = given(value) if isinstance(value, Struct) else msgspec.to_builtins(value)
    return result


def for_the_cluster(plan: Plan) -> PodConfig:
    """The settings with a broker's address for its name, the broker `default` without any sink, the spool and the cache of
    models on their volumes."""
    config, logger, eventing = plan.config, plan.config.logger, plan.function.inference.eventing
    own = plan.function.inference.server is UNSET
    if own and any(is_remote(model.uri) for model in (config.model, *config.models)):
        config = replace(config, model_cache=replace(config.model_cache, path=MODEL_CACHE))
    if logger is None:
        return config
    sinks, sink = [_addressed(each, plan) for each in logger.sinks], logger.sink
    if sink is UNSET and not sinks and not eventing.sink_binding:
        sink = DEFAULT
    if sink is not UNSET:
        sink = address(sink, plan)
    ends = {name: getattr(logger, name) for name in ("dead_letter", "overflow") if getattr(logger, name) is not UNSET}
    ends = {name: address(each, plan) for name, each in ends.items()}
    spool = logger.spool
    if spool not in (UNSET, MEMORY) and not claim(spool):
        spool = SPOOL_PATH
    return replace(config, logger=replace(logger, sink=sink, sinks=sinks, spool=spool, **ends))


def address(sink: str, plan: Plan) -> str:
    """Where a sink is: of a broker the address that takes its events."""
    ingress = plan.function.inference.eventing.broker_ingress
    return broker_url(sink, plan.namespace, ingress) if sink.startswith(SCHEME) else sink


def _addressed(sink: SinkSettings, plan: Plan) -> SinkSettings:
    dead_letter = sink.dead_letter if sink.dead_letter is UNSET else address(sink.dead_letter, plan)
    return replace(sink, to=address(sink.to, plan), dead_letter=dead_letter)


def own_variables(plan: Plan, *, sidecar: bool, prefixes: tuple[str, ...] = ("KFUNC_",)) -> list[Manifest]:
    """Of a container that runs kfunc: the settings, telemetry's, and those of func.yaml whose names begin so."""
    text = settings(plan)
    result = [{"name": pod.VARIABLE, "value": literal(text) if fits(text) else f"{pod.IN_FILE}{CONFIGURATION}/{FILE}"}]
    if sidecar:
        envs = [env for env in plan.function.run.envs if env.name is not UNSET and env.name.startswith(prefixes)]
        return result + _without_gpu(plan) + telemetry(plan) + variables(envs)
    return result + handler_variables(plan)


def _without_gpu(plan: Plan) -> list[Manifest]:
    """Of a sidecar in the function's image for CUDA: that image asks for all GPUs where no device plugin speaks."""
    shared = plan.function.inference.server is UNSET and variant(plan) == "cuda"
    return [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}] if shared else []


def handler_variables(plan: Plan) -> list[Manifest]:
    """Of the main container: all of func.yaml's, after those that they may replace."""
    named = variables(plan.function.run.envs)
    names = {variable["name"] for variable in named}
    defaults = [*temporary(plan), *telemetry(plan)]
    return [variable for variable in defaults if variable["name"] not in names] + named


def variables(envs: list[Env]) -> list[Manifest]:
    """Variables with a name, each with its text or the place where it stands."""
    return [{"name": env.name, **_value(env.value)} for env in envs if env.name is not UNSET and env.value is not UNSET]


def _value(text: str) -> dict[str, Any]:
    if match := FROM_KEY.fullmatch(text):
        kind, name, key = match.groups()
        return {"valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}
    return {"value": literal(text)}


def sources(plan: Plan) -> list[Manifest]:
    """All keys of Secrets and ConfigMaps, as the handler's variables."""
    found = [FROM_ALL.fullmatch(env.value) for env in plan.function.run.envs if env.name is UNSET and env.value is not UNSET]
    result = [{f"{match[1]}Ref": {"name": match[2]}} for match in found if match]
    secret = plan.function.inference.storage.env_secret
    return result + ([{"secretRef": {"name": secret}}] if secret else [])


def telemetry(plan: Plan) -> list[Manifest]:
    """OpenTelemetry's variables."""
    given = plan.function.inference.telemetry
    if given is UNSET:
        return []
    attributes = {"service.namespace": plan.namespace, **given.attributes}
    values = {
        "OTEL_SERVICE_NAME": plan.name,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{name}={quote(value, safe='')}" for name, value in attributes.items()),
        "OTEL_EXPORTER_OTLP_ENDPOINT": given.otlp_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": f"{given.sample_ratio:g}",
    }
    if given.metrics:
        values["OTEL_METRICS_EXPORTER"] = "otlp"
    return [{"name": name, "value": literal(value)} for name, value in values.items()]
