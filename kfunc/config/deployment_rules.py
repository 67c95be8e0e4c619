"""Rules for the pod on a cluster: devices, nodes, sidecars' resources, credentials, telemetry, and folders that are taken."""

import re
from collections.abc import Callable, Iterator
from posixpath import normpath

from msgspec import UNSET

from kfunc.config.deployment import ContainerResources, Toleration
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.names import is_label_key, is_label_value, is_subdomain
from kfunc.config.places import FOLDERS, SCRATCH
from kfunc.config.quantity import parse_quantity
from kfunc.config.scaling_rules import cpu_findings, memory_findings, requests_findings
from kfunc.config.urls import is_http_url

INFERENCE: FieldPath = ("inference",)
GPU_RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "gpu.intel.com/i915"}
# Knative's webhook refuses these, and a mount over /dev or / would break any process.
RESERVED_MOUNTS = ("/", "/dev", "/dev/log")


def gpus_are_used(function: Function) -> Iterator[Finding]:
    """A GPU that nothing uses is paid for; only NVIDIA's have slices."""
    gpu = function.inference.gpu
    if gpu is UNSET:
        return
    if function.inference.accelerator == "cpu":
        message = "the accelerator is cpu, so that the GPU would be idle"
        yield Finding((*INFERENCE, "gpu"), message, "remove gpu, or accelerator: cpu", at_key=True)
    if gpu.mig is not UNSET and gpu.vendor != "nvidia":
        yield Finding((*INFERENCE, "gpu", "mig"), f"only NVIDIA's GPUs have MIG slices, found vendor {gpu.vendor}", "remove it")


def devices_are_extended_resources(function: Function) -> Iterator[Finding]:
    """Whole numbers of a resource that a device plugin offers under a vendor's domain."""
    gpu = function.inference.gpu
    for name, count in function.inference.devices.items():
        path = (*INFERENCE, "devices", name)
        if not is_extended_resource(name):
            message = f'expected a vendor\'s resource such as "sgx.intel.com/epc", found {show_text(name)}'
            yield Finding(path, message, "cpu and memory are in deploy.options.resources", at_key=True)
        size = parse_quantity(count)
        if size is None or size < 1 or size.denominator != 1 or size >= 2**63:
            yield Finding(path, f'expected a whole number such as "1" or "10Mi", found {show_text(count)}')
        if gpu is not UNSET and name == GPU_RESOURCES[gpu.vendor]:
            yield Finding(path, "inference.gpu asks for the same", "keep one of the two", at_key=True)


def is_extended_resource(name: str) -> bool:
    """Kubernetes' rule: a qualified name with a domain that is not Kubernetes' own, short enough for a quota's name."""
    own = "kubernetes.io/" in name or name.startswith("requests.")
    return "/" in name and is_label_key(name) and is_label_key(f"requests.{name}") and not own


def nodes_are_selectable(function: Function) -> Iterator[Finding]:
    """Labels and taints as Kubernetes has them."""
    scheduling, path = function.inference.scheduling, (*INFERENCE, "scheduling")
    for key, value in scheduling.node_selector.items():
        if not is_label_key(key):
            yield Finding((*path, "node_selector", key), f"expected a label's key, found {show_text(key)}", at_key=True)
        if not is_label_value(value):
            yield Finding((*path, "node_selector", key), f"expected a label's value, found {show_text(value)}")
    for number, toleration in enumerate(scheduling.tolerations):
        yield from _toleration(toleration, (*path, "tolerations", number))
    for name, text in ("priority_class", scheduling.priority_class), ("runtime_class", scheduling.runtime_class):
        if text and not is_subdomain(text):
            yield Finding((*path, name), f'expected lower-case letters, digits, "-" and ".", found {show_text(text)}')


def _toleration(toleration: Toleration, path: FieldPath) -> Iterator[Finding]:
    if toleration.key and not is_label_key(toleration.key):
        yield Finding((*path, "key"), f"expected a taint's key, found {show_text(toleration.key)}")
    if not toleration.key and toleration.operator != "Exists":
        yield Finding(path, "a toleration without a key is one of every taint", "add key: …, or operator: Exists")
    if not is_label_value(toleration.value):
        yield Finding((*path, "value"), f"expected a taint's value, found {show_text(toleration.value)}")
    if toleration.value and toleration.operator == "Exists":
        yield Finding((*path, "value"), "with operator Exists there is no value", "remove it, or write operator: Equal")
    if toleration.toleration_s is not UNSET and toleration.effect != "NoExecute":
        yield Finding((*path, "toleration_s"), "only effect NoExecute evicts pods", "add effect: NoExecute, or remove it")


def sidecars_have_resources(function: Function) -> Iterator[Finding]:
    """Quantities that mean cores and bytes, and requests within limits."""
    sidecars = function.inference.resources
    for name in sidecars.__struct_fields__:
        resources: ContainerResources = getattr(sidecars, name)
        path = (*INFERENCE, "resources", name)
        for key, shares in ("requests", resources.requests), ("limits", resources.limits):
            yield from cpu_findings(shares.cpu, (*path, key, "cpu"))
            yield from memory_findings(shares.memory, (*path, key, "memory"))
        yield from requests_findings(resources.requests, resources.limits, path)


def credentials_are_secrets(function: Function) -> Iterator[Finding]:
    """Names of Secrets in the function's namespace."""
    storage = function.inference.storage
    for key, name in ("env_secret", storage.env_secret), ("file_secret", storage.file_secret):
        if name and not is_subdomain(name):
            message = f'expected the name of a Secret: lower-case letters, digits, "-" and ".", found {show_text(name)}'
            yield Finding((*INFERENCE, "storage", key), message)


def telemetry_has_an_address(function: Function) -> Iterator[Finding]:
    """A collector's URL; attributes have names without "," and "="."""
    telemetry = function.inference.telemetry
    if telemetry is UNSET:
        return
    path = (*INFERENCE, "telemetry")
    if not is_http_url(telemetry.otlp_endpoint):
        message = f'expected a URL such as "http://collector.observability:4318", found {show_text(telemetry.otlp_endpoint)}'
        yield Finding((*path, "otlp_endpoint"), message)
    for name in telemetry.attributes:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,254}", name):
            message = f'expected a name such as "deployment.environment.name", found {show_text(name)}'
            yield Finding((*path, "attributes", name), message, at_key=True)


def volumes_leave_our_folders_alone(function: Function) -> Iterator[Finding]:
    """The containers' own folders, and paths that Knative keeps for itself."""
    for number, volume in enumerate(function.run.volumes):
        if volume.path is UNSET:
            continue
        path = normpath(volume.path)
        where: FieldPath = ("run", "volumes", number, "path")
        if path in RESERVED_MOUNTS[1:]:
            yield Finding(where, f"Knative allows no volume at {path}", "mount it elsewhere, as /mnt/data")
        elif path == SCRATCH:
            if volume.empty_dir is UNSET:
                yield Finding(where, f"processes write to {SCRATCH}: only an emptyDir may be there", "mount it elsewhere")
        elif taken := next((folder for folder in FOLDERS if path == folder or path.startswith(f"{folder}/")), None):
            yield Finding(where, f"kfunc has its own volume at {taken}", "mount it elsewhere, as /mnt/data")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    gpus_are_used,
    devices_are_extended_resources,
    nodes_are_selectable,
    sidecars_have_resources,
    credentials_are_secrets,
    telemetry_has_an_address,
    volumes_leave_our_folders_alone,
)
