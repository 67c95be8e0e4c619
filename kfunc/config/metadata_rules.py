"""Rules for names, images, labels, annotations and dates: what Kubernetes and registries accept."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from difflib import get_close_matches
from typing import get_args

from msgspec import UNSET

from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.inference import Runtime
from kfunc.config.names import (
    MAX_LABEL,
    is_image,
    is_label,
    is_label_key,
    is_registry,
    is_service_name,
    is_subdomain,
    service_name,
)

# Those of Knative Functions 1.x (`func languages`).
RUNTIMES = ("python", "go", "node", "typescript", "quarkus", "rust", "springboot")
OWN_RUNTIME = "python"
# Kubernetes' 256 KiB, less what kfunc and Knative write themselves.
MAX_ANNOTATION_BYTES = 240 * 1024
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}", re.ASCII)
SCHEME = re.compile(r"\A[a-z][a-z0-9+.-]*://")


def name_is_a_service_name(function: Function) -> Iterator[Finding]:
    """The function becomes a Service."""
    if function.name and not is_service_name(function.name):
        fault = "start with a letter" if len(function.name) <= MAX_LABEL else f"have at most {MAX_LABEL} characters"
        yield Finding(("name",), f"a service's name must {fault}", f"did you mean {show_text(service_name(function.name))}?")


def names_are_kubernetes_names(function: Function) -> Iterator[Finding]:
    """Objects that are named here exist on the cluster, so that their names have its form."""
    deploy = function.deploy
    labels: tuple[tuple[FieldPath, str], ...] = (
        (("namespace",), function.namespace),
        (("deploy", "namespace"), deploy.namespace),
    )
    for path, name in labels:
        if name and not is_label(name):
            message = f'expected lower-case letters, digits and "-", at most {MAX_LABEL}, found {show_text(name)}'
            yield Finding(path, message, f"did you mean {show_text(service_name(name))}?")
    subdomains: tuple[tuple[FieldPath, str], ...] = (
        (("domain",), function.domain),
        (("build", "remoteStorageClass"), function.build.remote_storage_class),
        (("deploy", "serviceAccountName"), deploy.service_account_name),
        (("deploy", "imagePullSecret"), deploy.image_pull_secret),
    )
    for path, name in subdomains:
        if name and not is_subdomain(name):
            yield Finding(path, f'expected lower-case letters, digits, "-" and ".", found {show_text(name)}')


def runtime_is_python(function: Function) -> Iterator[Finding]:
    """What the `func` CLI calls the runtime is the language; what runs the model is a field of its own."""
    runtime = function.runtime
    if runtime in ("", OWN_RUNTIME) or not runtime.isprintable():
        return
    path: FieldPath = ("runtime",)
    if runtime in RUNTIMES:
        yield Finding(path, f"kfunc's functions are Python functions, found {show_text(runtime)}", 'write "runtime: python"')
        return
    message = f"expected one of {', '.join(RUNTIMES)}, found {show_text(runtime)}"
    if runtime.lower() in get_args(Runtime):
        yield Finding(path, message, 'write "runtime: python"; what runs the model is inference.model.runtime')
    elif get_close_matches(runtime.lower(), (OWN_RUNTIME,), cutoff=0.5):
        yield Finding(path, message, 'did you mean "python"?')
    else:
        yield Finding(path, message, 'kfunc needs "python"')


def images_are_references(function: Function) -> Iterator[Finding]:
    """These strings reach a build file and a manifest."""
    build = function.build
    images: list[tuple[FieldPath, str]] = [
        (("image",), function.image),
        (("deploy", "image"), function.deploy.image),
        (("build", "baseImage"), build.base_image),
        (("inference", "build", "base"), function.inference.build.base),
        (("inference", "build", "cuda_base"), function.inference.build.cuda_base),
        *((("build", "builderImages", name), image) for name, image in build.builder_images.items()),
    ]
    for path, image in images:
        if image and not is_image(image):
            yield _not_a_reference(path, image, is_image, 'an image such as "registry.example.com/team/iris:1"')
    if function.registry and not is_registry(function.registry):
        yield _not_a_reference(("registry",), function.registry, is_registry, 'a registry such as "registry.example.com/team"')


def _not_a_reference(path: FieldPath, text: str, fits: Callable[[str], bool], words: str) -> Finding:
    bare = SCHEME.sub("", text.strip())
    for candidate in bare, bare.lower():
        if fits(candidate):
            return Finding(path, f"expected {words}, found {show_text(text)}", f"did you mean {show_text(candidate)}?")
    return Finding(path, f"expected {words}, found {show_text(text)}")


def versions_and_dates_are_such(function: Function) -> Iterator[Finding]:
    """The `func` CLI refuses to read the file otherwise."""
    if not VERSION.fullmatch(function.spec_version):
        message = f'expected a version such as "0.36.0", found {show_text(function.spec_version)}'
        yield Finding(("specVersion",), message)
    if function.created and not _is_date(function.created):
        message = f'expected a date and time such as "2026-11-21T12:00:00Z", found {show_text(function.created)}'
        yield Finding(("created",), message)


def _is_date(text: str) -> bool:
    if not RFC_3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def labels_are_single_and_short(function: Function) -> Iterator[Finding]:
    """Kubernetes: 63 characters for name and value, 253 for the prefix, each key once."""
    seen: dict[str, int] = {}
    for number, label in enumerate(function.deploy.labels):
        path: FieldPath = ("deploy", "labels", number)
        prefix, _, name = label.key.rpartition("/")
        if len(name) > MAX_LABEL or len(prefix) > 253:
            yield Finding((*path, "key"), f"a label's key has at most {MAX_LABEL} characters, and 253 before the slash")
        if len(label.value) > MAX_LABEL:
            yield Finding((*path, "value"), f"a label's value has at most {MAX_LABEL} characters, this has {len(label.value)}")
        if label.key in seen:
            yield Finding((*path, "key"), f"the label {show_text(label.key)} is already in deploy.labels[{seen[label.key]}]")
        seen.setdefault(label.key, number)


def annotations_have_keys_and_bounds(function: Function) -> Iterator[Finding]:
    """Kubernetes' form of a key, and its bound for all of an object's annotations."""
    annotations = function.deploy.annotations
    for key in annotations:
        if not is_label_key(key):
            message = 'expected an annotation key such as "team" or "example.com/team"'
            yield Finding(("deploy", "annotations", key), message, at_key=True)
    size = sum(len(text.encode()) for pair in annotations.items() for text in pair)
    if size > MAX_ANNOTATION_BYTES:
        message = f"expected at most {MAX_ANNOTATION_BYTES} bytes in all annotations, found {size}"
        yield Finding(("deploy", "annotations"), message, "shorten the longest", at_key=True)


def texts_are_one_line(function: Function) -> Iterator[Finding]:
    """A line end or control character in these would end up in a build file or on a command line."""
    build, run = function.build, function.run
    texts: list[tuple[FieldPath, str]] = [
        (("runtime",), function.runtime),
        (("build", "git", "url"), build.git.url),
        (("build", "git", "revision"), build.git.revision),
        (("build", "git", "contextDir"), build.git.context_dir),
        *((("build", "buildpacks", number), name) for number, name in enumerate(build.buildpacks)),
    ]
    if run.kafka is not UNSET:
        texts += [
            (("run", "kafka", "brokers"), run.kafka.brokers),
            (("run", "kafka", "topic"), run.kafka.topic),
            (("run", "kafka", "consumerGroup"), run.kafka.consumer_group),
        ]
    for path, text in texts:
        if not text.isprintable():
            yield Finding(path, f"expected one line of text, found {show_text(text)}")


def probe_paths_are_paths(function: Function) -> Iterator[Finding]:
    """A probe asks for a path of the function's own server."""
    probes = function.deploy.health_endpoints
    for key, path in ("liveness", probes.liveness), ("readiness", probes.readiness):
        if path and (not path.startswith("/") or not path.isprintable() or " " in path):
            message = f'expected a path such as "/v2/health/ready", found {show_text(path)}'
            suggestion = f"did you mean {show_text('/' + path)}?" if re.fullmatch(r"[A-Za-z0-9_/.-]+", path) else ""
            yield Finding(("deploy", "healthEndpoints", key), message, suggestion)


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    name_is_a_service_name,
    names_are_kubernetes_names,
    runtime_is_python,
    images_are_references,
    versions_and_dates_are_such,
    labels_are_single_and_short,
    annotations_have_keys_and_bounds,
    texts_are_one_line,
    probe_paths_are_paths,
)
