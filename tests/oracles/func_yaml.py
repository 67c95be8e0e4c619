"""func.yaml as hypothesis makes it: from the types themselves, so that a new field is tried without a line here.

A dozen fields at a time, most of them good; the others at and past their bounds, or texts of people who
err and of attackers.
"""

from functools import cache
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from kfunc.config.function import Function
from kfunc.config.wording import inner

Path = tuple[str | int, ...]

NAMES = (["default", "my-secret", "a.b", "x" * 63], ["Upper", "a_b", "-a", "", "x" * 254, "a b", "1st"])
SINKS = (
    ["broker:default", "broker:a.b", "http://events.example.com/a?b=$(c)", "https://events:8443"],
    ["service:iris", "broker:", "broker:A", "ftp://a", "http://", "broker:a/b/c", "service:2", "http://u:p@a", "http://a b"],
)
ADDRESSES = (["http://collector:4318", "http://a.b/$(A)"], ["collector:4318", "http://a b", "", "http://"])
PATHS = (
    ["/data", "/mnt/a", "/tmp", "/mnt/a b", "/mnt/$(A)"],
    ["/", "/dev", "/dev/log", "/etc/kfunc", "/a/../b", "data", "/a:b"],
)
TEXTS = (
    [
        "",
        "text",
        "$(PORT)",
        "$$(A)",
        "a'b\"c",
        "a\nb\n",
        "!!int 1",
        "yes",
        "1e3",
        "ü 😀 \u2028",
        "- a",
        "x" * 2000,
        "${{ a }}",
        "#",
    ]
    + ["null", "a: b", "{{ secret:s:k }}", "{{ configMap:c:k }}"],
    ["{{ secret:s }}", "{{ a }}"],
)
SIZES = (["10Mi", "1Gi", "1500k", "1e9"], ["0", "-1", "1", "1mb", "Mi", "1.5n", "", "1Ki1"])
CORES = (["1", "250m", "0.1", "1.5", "1e1"], ["0", "-1", "250", "1G", "m", ""])
QUANTITIES = {
    "cpu": CORES,
    "memory": SIZES,
    "sizeLimit": SIZES,
    "devices": (["1", "2", "10Mi"], ["0", "0.5", "-1", "1m", "1e30"]),
}
ANNOTATIONS = (
    ["team", "example.com/team", "networking.knative.dev/http-protocol", "features.knative.dev/queueproxy-podinfo"]
    + ["autoscaling.knative.dev/metric-aggregation-algorithm", "sidecar.istio.io/inject", "serving.knative.dev.example.com/a"],
    ["a b", "/a", "a/", "", "networking.knative.dev/foo", "serving.knative.dev/creator", "autoscaling.knative.dev/minScale"]
    + ["autoscaling.knative.dev/window", "serving.knative.dev/rolloutDuration", "autoscaling.knative.dev/class"]
    + ["queue.sidecar.serving.knative.dev/resource-percentage", "serving.knative.dev/progress-deadline", "x" * 64],
)
LABELS = (["team", "example.com/team"], ["a b", "networking.knative.dev/visibility", "serving.knative.dev/x", "x" * 64, ""])
DEVICES = (
    ["sgx.intel.com/epc", "amd.com/gpu", "a.b/c_d"],
    ["cpu", "nvidia.com/gpu", "kubernetes.io/a", "hugepages-2Mi", "a.b/c d"],
)
IMAGES = (
    ["iris", "example.com/team/iris:1", "localhost:5000/a/b:c", f"example.com/a@sha256:{'0' * 64}", "a__b/c---d", "1/2"]
    + [f"example.com/a:1@sha256:{'a' * 64}", f"a:{'b' * 128}", "[::1]:5000/a", "a.b", "A/b", "a" * 200],
    ["a//b", "a:", "a@sha256:12", "example.com/A", "", " a", "a:b:c", "a" * 300, f"a:{'b' * 129}", "-a"],
)

# By a field's name: good texts, and bad ones.
BY_KEY: dict[str, tuple[list[str], list[str]]] = {
    "name": (["iris", "a", "x" * 54, "my-model", "K_SINK"], ["x" * 55, "x" * 64, "2a", "A b", "PORT", "K_SERVICE", "KFUNC_X"]),
    "namespace": (["default", "x" * 63], ["a.b", "A", "x" * 64]),
    "domain": (["example.com", "a"], ["x." * 40 + "b", "a b"]),
    "image": IMAGES,
    "sidecar_image": IMAGES,
    "registry": (["example.com/team", "a/b/"], ["http://a", "a b"]),
    "uri": (
        ["model.onnx", "pvc://models/iris/1", "pvc://a.b", "m'\"n", "x" * 3000, "a: b"],
        ["pvc://A/b", "pvc://a/../b", "s3://b/m", "$(A)", "../m", " m"],
    ),
    "sink": SINKS, "to": SINKS, "dead_letter": SINKS, "overflow": SINKS,
    "sink_binding": (["service:iris", *SINKS[0]], SINKS[1][1:]),
    "spool": (["pvc://claim/a", "pvc://claim", "/data"], ["pvc://claim/../a", "pvc://a//b", "pvc://-a"]),
    "broker_ingress": ADDRESSES, "otlp_endpoint": ADDRESSES,
    "path": PATHS,
    "secret": NAMES, "configMap": NAMES, "claimName": NAMES, "serviceAccountName": NAMES, "imagePullSecret": NAMES,
    "env_secret": NAMES, "file_secret": NAMES, "priority_class": NAMES, "runtime_class": NAMES, "source": NAMES,
    "medium": (["", "Memory"], ["Disk"]),
    "liveness": (["/v2/health/live", ""], ["live", "/a b"]),
    "readiness": (["/v2/health/ready", "/%20?a=b"], ["ready", "/a b"]),
    "ready_path": (["/v2/health/ready", "/%20?a=b"], ["ready", "/a b"]),
    "runtime": (["python"], ["go"]),
    "key": LABELS,
    "filters": (["a.b", "", "$(A)"], []),
    "annotations": (["a team", "", "linear", "$(A)"], []),
}  # fmt: skip
KEYS = {
    "annotations": ANNOTATIONS,
    "node_selector": LABELS,
    "devices": DEVICES,
    "filters": (["type", "source"], ["A", "a-b", ""]),
    "ce_overrides": (["team", "a1"], ["A", "a-b", "x" * 21]),
    "attributes": (["team", "deployment.environment.name"], ["a=b", "a,b", "", "1"]),
}
# What never reaches these manifests, and the mode that has others.
NEVER = {
    "specVersion",
    "created",
    "build",
    "kafka",
    "mode",
    "raw",
    "traffic",
    "access",
    "egress",
    "monitoring",
    "limits",
    "shadow",
}


@cache
def leaves() -> tuple[tuple[Path, Any], ...]:
    """Every value of a func.yaml that is not a mapping of known keys; lists of such mappings have two entries."""
    return tuple(_leaves(inspect.type_info(Function), ()))


def _leaves(annotated: Any, path: Path) -> list[tuple[Path, Any]]:
    kind = inner(annotated)
    if isinstance(kind, inspect.StructType):
        inside = [(field.encode_name, field.type) for field in kind.fields if field.encode_name not in NEVER]
        return [leaf for name, each in inside for leaf in _leaves(each, (*path, name))]
    if isinstance(kind, inspect.ListType) and isinstance(inner(kind.item_type), inspect.StructType):
        return [leaf for number in (0, 1) for leaf in _leaves(kind.item_type, (*path, number))]
    return [(path, kind)]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A func.yaml's value."""
    chosen = draw(st.lists(st.sampled_from(leaves()), max_size=16, unique_by=lambda leaf: leaf[0]))
    tree: dict[Any, Any] = {}
    for path, kind in chosen:
        place = tree
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = draw(values(kind, str(path[-1])))
    document: dict[str, Any] = _completed(draw, inspect.type_info(Function), tree)
    if draw(st.integers(0, 9)):
        _entries_say_enough(document)
    return document


def _entries_say_enough(document: dict[str, Any]) -> None:
    """What is not required by type, but without which an entry of a list says nothing."""
    run, scheduling = document.get("run", {}), document["inference"].get("scheduling", {})
    for number, volume in enumerate(run.get("volumes", [])):
        volume.setdefault("path", f"/data/{number}")
        if len(volume) == 1:
            volume["emptyDir"] = {}
        volume.get("persistentVolumeClaim", {}).setdefault("claimName", "claim")
    for number, env in enumerate(run.get("envs", [])):
        env.setdefault("name", f"A{number}")
        env.setdefault("value", "text")
    for toleration in scheduling.get("tolerations", []):
        toleration.setdefault("key", "gpu")


def _completed(draw: st.DrawFn, annotated: Any, tree: Any) -> Any:
    """With the fields that are required, and lists for the numbers of their entries."""
    kind = inner(annotated)
    if isinstance(kind, inspect.ListType) and isinstance(inner(kind.item_type), inspect.StructType):
        return [_completed(draw, kind.item_type, tree[number]) for number in sorted(tree)]
    if not isinstance(kind, inspect.StructType):
        return tree
    result = {}
    for field in kind.fields:
        name = field.encode_name
        if name in tree:
            result[name] = _completed(draw, field.type, tree[name])
        elif field.required:
            struct = isinstance(inner(field.type), inspect.StructType)
            result[name] = _completed(draw, field.type, {}) if struct else draw(values(inner(field.type), name))
    return result


def values(kind: Any, name: str) -> st.SearchStrategy[Any]:
    """Values of a type, of a field of this name."""
    if isinstance(kind, inspect.LiteralType):
        return st.sampled_from(kind.values)
    if isinstance(kind, inspect.UnionType):
        return st.one_of(*(values(inner(each), name) for each in kind.types))
    if isinstance(kind, inspect.ListType):
        return st.lists(values(inner(kind.item_type), name), min_size=kind.min_length or 0, max_size=2)
    if isinstance(kind, inspect.DictType):
        return st.dictionaries(
            mostly(*KEYS.get(name, (["a", "team-1"], ["A b"]))), values(inner(kind.value_type), name), max_size=2
        )
    if isinstance(kind, inspect.BoolType):
        return st.booleans()
    if isinstance(kind, (inspect.IntType, inspect.FloatType)):
        return mostly(*_numbers(kind))
    if name in QUANTITIES:
        return mostly(*QUANTITIES[name])
    if name in BY_KEY:
        return mostly(*BY_KEY[name])
    return st.from_regex(kind.pattern, fullmatch=True).filter(str.isprintable) if kind.pattern else mostly(*TEXTS)


def mostly(good: list[Any], bad: list[Any]) -> st.SearchStrategy[Any]:
    """One in fifteen or so is bad."""
    if not bad:
        return st.sampled_from(good)
    return st.integers(0, 14).flatmap(lambda number: st.sampled_from(bad if number == 14 else good))


def _numbers(kind: inspect.IntType | inspect.FloatType) -> tuple[list[int | float], list[int | float]]:
    """Between the bounds and at them; past them."""
    whole = isinstance(kind, inspect.IntType)
    low = kind.ge if kind.ge is not None else kind.gt + 0.001 if kind.gt is not None else 0
    high = next((bound for bound in (kind.le, kind.lt) if bound is not None), max(low * 4, 2000))
    good = [
        low,
        high,
        low + 1,
        low + 2,
        (low + high) // 2,
        *(number for number in (2, 10, 100, 8080, 9000) if low <= number <= high),
    ]
    bad = [low - 1, high + 1, 2**31, 2**62, -1, 0]
    if whole:
        return [int(number) for number in good], [int(number) for number in bad]
    return [float(number) for number in (*good, low + 0.25, (low + high) / 3)], [float(number) for number in (*bad, 1e-5, -0.5)]
