"""Whether this machine has what one function needs to run here: its files, its libraries, their versions, its accelerator."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import UNSET

from kfunc.cli.doctor_local import IMPORT_S, MOST_TEXT, Process, ended, start
from kfunc.cli.findings import Finding
from kfunc.cli.function import model_file, runtime_of, source_runtime
from kfunc.cli.validate import check
from kfunc.config.complete import complete
from kfunc.config.function import Function
from kfunc.config.inference import ModelSource
from kfunc.config.load import load_function
from kfunc.config.locations import claim
from kfunc.config.model_addresses import is_remote
from kfunc.config.pod import PodConfig
from kfunc.errors import ConfigError, KfuncError, ModelLoadError
from kfunc.handlers.accelerators.demand import OWN_CODE
from kfunc.handlers.layout import find_models
from kfunc.handlers.origins import require_libraries
from kfunc.handlers.registry import missing_packages
from kfunc.handlers.versions import require_pinned

ABOUT = "function"
DEMAND = """\
import sys
from msgspec.json import encode
from kfunc.handlers.accelerators.survey import refusal
print(encode(refusal(*sys.argv[1:])).decode())
"""


def read(file: Path) -> tuple[Function | None, list[Finding]]:
    """The function, None where it cannot be read, and what `kfunc validate` finds wrong with it."""
    found = []
    try:
        check(file)
    except ConfigError as error:
        found = [
            Finding(ABOUT, "bad", f"{each.path}: {each.message}".removeprefix(": "), each.suggestion) for each in error.problems
        ]
    except KfuncError as error:
        found = [Finding(ABOUT, "bad", error.message)]
    try:
        return load_function(file), found
    except KfuncError as error:
        return None, found or [Finding(ABOUT, "bad", error.message)]


def needed_runtimes(function: Function, directory: Path) -> list[str]:
    """What runs the function's models, as far as that is known here; nothing of what cannot be found."""
    if function.inference.server is not UNSET:
        return []
    sources = [function.inference.model, *function.inference.models]
    return sorted({runtime for source in sources for runtime in _runtimes(source, directory)} - {"auto"})


def _runtimes(source: ModelSource, directory: Path) -> set[str]:
    file = model_file(directory, source.uri)
    try:
        if source.sealed or is_remote(source.uri) or claim(source.uri) or not file.exists():
            return {source_runtime(source, directory)[0]}
        found = find_models(file, "model", source.version, source.runtime, each_alone=True)
    except ModelLoadError:
        return set()  # it is a finding already
    return {each.runtime for each in found if not each.fault}


def function_findings(function: Function, directory: Path, start: Callable[..., Process] = start) -> Iterator[Finding]:
    """What `kfunc run` would refuse of a function whose func.yaml is good."""
    if function.inference.server is not UNSET:
        return
    try:
        config = complete(function, runtime_of(function, directory)[0])
    except KfuncError:
        return  # it is a finding already
    for text in dict.fromkeys(_lacking(config)):
        yield Finding(ABOUT, "bad", text)
    yield from _of_accelerator(config.accelerator, needed_runtimes(function, directory), start)


def _lacking(config: PodConfig) -> Iterator[str]:
    for model in (config.model, *config.models):
        try:
            require_libraries(model)
            if model.runtime_version and model.runtime != "auto":
                require_pinned(model.runtime, model.runtime_version)
        except ModelLoadError as error:
            yield error.message


def _of_accelerator(wanted: str, runtimes: list[str], start: Callable[..., Process]) -> Iterator[Finding]:
    """Whether the runtimes can have it, each asked in a process of its own, since that imports it."""
    if wanted in ("auto", "cpu"):
        return
    checks = {runtime: start(DEMAND, runtime, wanted) for runtime in runtimes if not missing_packages(runtime)}
    ends_at = time.monotonic() + IMPORT_S
    with ended(checks):
        for runtime, process in checks.items():
            refused = _refused(process, ends_at)
            if refused:
                yield Finding(ABOUT, "bad", f"{runtime}: {refused}")
            elif runtime in OWN_CODE:
                yield Finding(ABOUT, "note", f"{runtime}: whether accelerator {wanted} is used is left to the model's own code")
            else:
                yield Finding(ABOUT, "good", f"{runtime}: accelerator {wanted} may be used")


def _refused(process: Process, ends_at: float) -> str:
    """Why not; a process that fails is a reason, too."""
    try:
        out, err = process.communicate(timeout=max(0.1, ends_at - time.monotonic()))
        return msgspec.json.decode(out.strip().rpartition("\n")[2], type=str)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"it does not answer within {IMPORT_S:g} s"
    except msgspec.DecodeError:
        return (err.strip().splitlines() or [f"its process ended with exit status {process.returncode}"])[-1][:MOST_TEXT]
