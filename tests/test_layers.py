"""The architecture as a table: what each package may import, which libraries load in the pod, which modules do no I/O.

Reads the sources with ast and imports nothing of kfunc. A new package needs a line in MAY_IMPORT.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kfunc.handlers.registry import RUNTIMES

ROOT = Path(__file__).parent.parent / "kfunc"

# Package or top-level module of kfunc -> those of the others that it may import.
MAY_IMPORT = {
    "errors": set[str](),
    "config": {"errors"},
    "protocol": {"errors", "config"},
    "http": {"errors", "config", "protocol"},
    "telemetry": {"errors", "config", "protocol", "http"},
    "grpc": {"errors", "config", "protocol", "http"},
    "pages": {"errors", "config", "http", "telemetry"},
    "translation": {"errors", "config", "protocol", "http", "grpc"},
    "process": {"errors", "config", "http", "telemetry", "grpc", "pages", "translation"},
    "registries": {"errors", "config"},
    "storage": {"errors", "config", "registries"},
    "handlers": {"errors", "config", "protocol", "http", "telemetry", "process", "grpc", "storage"},
    "batcher_sidecar": {"errors", "config", "protocol", "http", "telemetry", "process"},
    "logger_sidecar": {"errors", "config", "protocol", "http", "telemetry", "process"},
    "client": {"errors", "protocol", "http", "handlers"},
    "manifests": {"errors", "config"},
    "kserve": {"errors", "config"},
    "conversion": {"errors", "config", "protocol", "handlers"},
    "cluster": {"errors", "config", "manifests"},
    "images": {"errors", "config", "registries"},
    "bench": {"errors"},
    "event_log": {"errors", "config", "protocol", "http", "client", "logger_sidecar"},
    "rollout": {"errors", "config", "protocol", "client", "manifests", "cluster", "event_log"},
    "cli": {
        "errors",
        "config",
        "protocol",
        "http",
        "telemetry",
        "handlers",
        "storage",
        "client",
        "manifests",
        "kserve",
        "conversion",
        "cluster",
        "registries",
        "images",
        "bench",
        "event_log",
        "rollout",
    },
    "__main__": {"cli"},
}

CLUSTER_CORE = ("binding", "causes", "clock", "diagnosis", "faults", "kinds", "log_text", "observed", "patience", "revisions")

# Bytes, values and `now` in, values out.
SANS_IO = {
    "kfunc.protocol",
    "kfunc.config",
    "kfunc.manifests",
    "kfunc.kserve",
    "kfunc.batcher_sidecar.policy",
    "kfunc.http.coding",
    *(f"kfunc.cluster.{name}" for name in CLUSTER_CORE),
    *(f"kfunc.event_log.{name}" for name in ("stored", "choosing", "ledger", "pairing", "replaying", "showing")),
}
H2_CORE = ["answers", "control", "core", "events", "faults", "fields", "frames"]
H2_CORE += ["heads", "limits", "outbox", "patience", "settings", "streams"]
BATCHER_CORE = ["alarms", "holding", "padding", "policy", "queues", "service_times", "tensor_rows", "tuning", "turns"]
BATCHER_CORE += ["v1_rows", "v2_answers", "v2_merging", "v2_requests"]
SANS_IO |= {f"kfunc.batcher_sidecar.{name}" for name in BATCHER_CORE}
SANS_IO |= {f"kfunc.http.h2.{name}" for name in H2_CORE}
SANS_IO |= {f"kfunc.storage.{name}" for name in ("contract", "eviction", "names", "planning")}
SANS_IO |= {"kfunc.handlers.residency_policy"}
LOGGER_CORE = ["backoff", "capture", "event", "filters", "naming", "object_outcomes", "record", "redaction", "targets"]
SANS_IO |= {f"kfunc.logger_sidecar.{name}" for name in LOGGER_CORE}
ROLLOUT_CORE = [
    "analysis",
    "commands",
    "deciding",
    "exposition",
    "experiment",
    "history",
    "judging",
    "knative_changes",
    "layout",
    "objects",
]
ROLLOUT_CORE += ["pods", "prometheus", "raw_changes", "record", "state", "statistics"]
SANS_IO |= {f"kfunc.rollout.{name}" for name in ROLLOUT_CORE}
BENCH_CORE = ["arrivals", "h2_frames", "histogram", "html_report", "results", "text_report"]
SANS_IO |= {f"kfunc.bench.{name}" for name in BENCH_CORE}
SANS_IO |= {"kfunc.pages.access", "kfunc.pages.figures", "kfunc.pages.recent"}
READS_FILES = {"kfunc.config.source"}
IO = {
    "asyncio",
    "logging",
    "multiprocessing",
    "os",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uvloop",
}

IMAGE_CORE = ["documents", "ignoring", "places", "platforms", "recipes", "reporter", "sbom"]
SANS_IO |= {f"kfunc.images.{name}" for name in IMAGE_CORE}
SANS_IO |= {"kfunc.registries.challenges", "kfunc.registries.references"}

# The processes of the pod, and what they must not load: it costs their start-up or their image.
POD = ("kfunc.handlers", "kfunc.batcher_sidecar", "kfunc.logger_sidecar")
SIDECARS = ("kfunc.batcher_sidecar", "kfunc.logger_sidecar")
NOT_IN_POD = {"argparse", "click", "dataclasses", "flask", "grpc", "kubernetes", "opentelemetry", "pydantic", "rich", "ruamel"}
NOT_IN_SIDECARS = {"gunicorn", "numpy", "onnxruntime", "sklearn"}


class Import(NamedTuple):
    """One imported module; `when` is `start` (with its importer), `call` (inside a function) or `typing`."""

    target: str
    when: str


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Every import in the text of `module`, as dotted names; `from a import b` is `a.b`."""
    importer = module if is_package else module.rpartition(".")[0]
    todo: list[tuple[ast.AST, str]] = [(ast.parse(source), "start")]
    while todo:
        node, when = todo.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = importer.split(".")[: len(importer.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(f"{base}.{alias.name}", when) for alias in node.names)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            when = "call"
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            when = "typing"
        todo.extend((child, when) for child in ast.iter_child_nodes(node))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


PATHS = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
IMPORTS = {name: list(imports_of(path.read_text(), name, path.name == "__init__.py")) for name, path in PATHS.items()}


def own_module(target: str) -> str | None:
    """The module of kfunc that an imported name is in, or None for somebody else's."""
    while target and target not in PATHS:
        target = target.rpartition(".")[0]
    return target or None


def own_imports(module: str, *when: str) -> set[str]:
    targets = {own_module(found.target) for found in IMPORTS[module] if found.when in when}
    return {target for target in targets if target} - {module}


def package(module: str) -> str:
    """`kfunc.http.server` -> `http`; `kfunc` itself -> `__init__`."""
    return [*module.split("."), "__init__"][1]


def within(module: str, packages: tuple[str, ...] | set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in packages)


def loaded_with(module: str) -> set[str]:
    """What importing `module` runs besides: its imports and the `__init__` of the packages above it."""
    parts = module.split(".")
    above = {".".join(parts[:size]) for size in range(1, len(parts))}
    return own_imports(module, "start") | (above & PATHS.keys())


def reachable(starts: set[str], step: Callable[[str], set[str]]) -> set[str]:
    """`starts` and every module that repeating `step` comes to."""
    found, todo = set(starts), list(starts)
    while todo:
        new = step(todo.pop()) - found
        found |= new
        todo += new
    return found


def libraries(modules: set[str], forbidden: set[str], *when: str) -> list[str]:
    """`importer: library` for each import of a forbidden library in `modules`."""
    return sorted(
        f"{module}: {found.target}"
        for module in modules
        for found in IMPORTS[module]
        if found.when in when and found.target.partition(".")[0] in forbidden
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path", [("os.path", "start")]),
        ("from kfunc.http import server", [("kfunc.http.server", "start")]),
        ("from . import server", [("kfunc.http.server", "start")]),
        ("from .server import Server", [("kfunc.http.server.Server", "start")]),
        ("from ..errors import KfuncError", [("kfunc.errors.KfuncError", "start")]),
        ("def f():\n  import numpy", [("numpy", "call")]),
        ("class C:\n  import numpy", [("numpy", "start")]),
        ("try:\n  import numpy\nexcept ImportError: pass", [("numpy", "start")]),
        ("if TYPE_CHECKING:\n  import numpy", [("numpy", "typing")]),
    ],
)
def test_the_analysis_sees_every_form_of_import(source: str, expected: list[tuple[str, str]]) -> None:
    assert list(imports_of(source, "kfunc.http.proxy")) == expected


def test_the_table_lists_exactly_the_packages_that_exist() -> None:
    assert {package(module) for module in PATHS} - {"__init__"} == set(MAY_IMPORT)


def test_the_table_itself_points_one_way() -> None:
    seen: set[str] = set()
    for name, below in MAY_IMPORT.items():
        assert below <= seen, f"{name} may import something that stands after it"
        seen.add(name)


@pytest.mark.parametrize("module", [name for name in PATHS if name != "kfunc"])
def test_a_module_imports_only_the_layers_below_it(module: str) -> None:
    allowed = MAY_IMPORT.get(package(module), set()) | {package(module)}
    targets = own_imports(module, "start", "call", "typing") - {"kfunc"}
    assert {target for target in targets if package(target) not in allowed} == set()


def test_the_root_imports_nothing_of_kfunc_at_start_since_every_process_imports_it() -> None:
    assert own_imports("kfunc", "start", "call") == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    def step(module: str) -> set[str]:
        return own_imports(module, "start", "call")

    assert [module for module in PATHS if module in reachable(step(module), step)] == []


def test_the_processes_of_the_pod_do_not_load_the_libraries_of_the_cli() -> None:
    loaded = reachable({module for module in PATHS if within(module, POD)}, loaded_with)
    assert libraries(loaded, NOT_IN_POD, "start") == []


def test_the_sidecars_never_import_numpy_or_a_runtime() -> None:
    loaded = reachable({module for module in PATHS if within(module, SIDECARS)}, loaded_with)
    assert libraries(loaded, NOT_IN_SIDECARS, "start", "call") == []


@pytest.mark.parametrize("module", [name for name in PATHS if within(name, SANS_IO) and name not in READS_FILES])
def test_a_sans_io_module_imports_nothing_that_does_io_or_reads_the_clock(module: str) -> None:
    assert libraries({module}, IO, "start", "call") == []


def test_the_modules_named_in_this_file_exist() -> None:
    assert {*SANS_IO, *READS_FILES, *POD} - PATHS.keys() == set()


def test_only_declared_libraries_are_imported() -> None:
    declared = {
        "aiohttp",
        "click",
        "flask",
        "gunicorn",
        "hpack",
        "httptools",
        "msgspec",
        "numpy",
        "orjson",
        "ruamel",
        "simdjson",
        "uvloop",
        "yarl",
        "zstandard",
    }
    sinks = {"aio_pika", "aiokafka", "aiormq", "nats", "obstore", "pyarrow"}
    cluster = {"kubernetes", "urllib3", "yaml"}  # the last two come with the first
    runtimes = {package for entry in RUNTIMES.values() for package in entry.packages}
    explainers = {"captum", "lime", "shap"}
    converters = {"onnx", "onnxmltools", "skl2onnx", "tf2onnx"}
    optional = (
        {"PIL", "cryptography", "grpc", "h5py", "joblib", "keras", "pandas", "pip", "safetensors"}
        | explainers
        | converters
        | runtimes
        | sinks
        | cluster
    )
    found = {found.target.partition(".")[0] for imports in IMPORTS.values() for found in imports}
    assert found - declared - optional - sys.stdlib_module_names - {"kfunc"} == set()
