"""Rules for scaling and resources: bounds that contradict each other, quantities that mean something else."""

from collections.abc import Callable, Iterator
from fractions import Fraction

from msgspec import UNSET

from kfunc.config.deployment import Shares
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function, Requests, ResourceLimits
from kfunc.config.quantity import parse_quantity

SCALE = ("deploy", "options", "scale")
RESOURCES = ("deploy", "options", "resources")
CONCURRENCY = (*RESOURCES, "limits", "concurrency")
MAX_CONCURRENCY = 1000
"""Knative's container-concurrency-max-limit."""
LEAST_MEMORY = 1024 * 1024
MOST_CORES = 1024
UNITS = {"kb": "k", "mb": "M", "gb": "G", "tb": "T", "ki": "Ki", "mi": "Mi", "gi": "Gi", "mib": "Mi", "gib": "Gi", "g": "G"}


def scale_bounds_agree(function: Function) -> Iterator[Finding]:
    """Fewest and most pods; 0 as the most is no bound."""
    scale = function.deploy.options.scale
    if scale.min is not UNSET and scale.max is not UNSET and 0 < scale.max < scale.min:
        yield Finding((*SCALE, "min"), f"min is {scale.min}, more than max, which is {scale.max}", "raise max or lower min")
    for key, bound in ("min", scale.min), ("max", scale.max):
        if bound is not UNSET and bound >= 2**31:
            yield Finding((*SCALE, key), "expected at most 2147483647 pods")
    if scale.target is not UNSET and scale.target < 0.01:
        yield Finding((*SCALE, "target"), f"expected at least 0.01, found {scale.target:g}", "remove it for Knative's default")


def resources_are_quantities(function: Function) -> Iterator[Finding]:
    """Kubernetes reads them, and they mean cores and bytes."""
    resources = function.deploy.options.resources
    quantities: tuple[tuple[FieldPath, str], ...] = (
        (("requests", "cpu"), resources.requests.cpu),
        (("requests", "memory"), resources.requests.memory),
        (("limits", "cpu"), resources.limits.cpu),
        (("limits", "memory"), resources.limits.memory),
    )
    for path, text in quantities:
        judge = cpu_findings if path[1] == "cpu" else memory_findings
        yield from judge(text, (*RESOURCES, *path))


def cpu_findings(text: str, path: FieldPath) -> Iterator[Finding]:
    """What is wrong with an amount of CPU; empty text is none."""
    cores = parse_quantity(text)
    if text and (cores is None or cores <= 0):
        yield Finding(path, f'expected cores such as "1" or "250m", found {show_text(text)}')
    elif cores is not None and cores > MOST_CORES:
        digits = text.rstrip("numkKMGTPEi")
        yield Finding(path, f"{text} is {float(cores):g} cores", f'did you mean "{digits}m"?')


def memory_findings(text: str, path: FieldPath) -> Iterator[Finding]:
    """What is wrong with an amount of memory; empty text is none."""
    size = parse_quantity(text)
    if text and (size is None or size <= 0):
        digits = text.rstrip("numkKMGTPEBbgti")
        unit = UNITS.get(text.removeprefix(digits).lower())
        suggestion = f'did you mean "{digits}{unit}"?' if unit and parse_quantity(f"{digits}{unit}") else ""
        yield Finding(path, f'expected bytes such as "512Mi", found {show_text(text)}', suggestion)
    elif size is not None and size < LEAST_MEMORY:
        digits = text.rstrip("numkK")
        yield Finding(path, f"{text} is {_plain(size)} bytes, too little for a process", f'did you mean "{digits}Mi"?')


def _plain(value: Fraction) -> str:
    return f"{float(value):g}"


def requests_are_within_limits(function: Function) -> Iterator[Finding]:
    """What is guaranteed cannot be more than what is allowed."""
    resources = function.deploy.options.resources
    yield from requests_findings(resources.requests, resources.limits, RESOURCES)


def requests_findings(requests: Requests | Shares, limits: ResourceLimits | Shares, path: FieldPath) -> Iterator[Finding]:
    """Requests of one container that are more than its limits."""
    for key, request, limit in ("cpu", requests.cpu, limits.cpu), ("memory", requests.memory, limits.memory):
        wanted, allowed = parse_quantity(request), parse_quantity(limit)
        if wanted is not None and allowed is not None and wanted > allowed:
            message = f"the request is {request}, more than the limit, which is {limit}"
            yield Finding((*path, "requests", key), message, "raise the limit or lower the request")


def concurrency_fills_batches(function: Function) -> Iterator[Finding]:
    """A batch is made of requests that are in the pod at the same time."""
    concurrency = function.deploy.options.resources.limits.concurrency
    batcher = function.inference.batcher
    if concurrency is UNSET or concurrency == 0:
        return
    if concurrency > MAX_CONCURRENCY:
        yield Finding(CONCURRENCY, f"expected at most {MAX_CONCURRENCY}, found {concurrency}", "0 is no bound")
    elif batcher is not UNSET and batcher.max_batch_size != "auto" and concurrency < batcher.max_batch_size:
        message = f"with {concurrency} requests at once, no batch of {batcher.max_batch_size} can fill"
        yield Finding(CONCURRENCY, message, f"at least inference.batcher.max_batch_size, which is {batcher.max_batch_size}")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    scale_bounds_agree,
    resources_are_quantities,
    requests_are_within_limits,
    concurrency_fills_batches,
)
