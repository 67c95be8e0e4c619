"""What this machine has: Python, runtimes that can be imported, accelerators."""

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

import msgspec

from kfunc import __version__
from kfunc.cli.findings import Finding
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.survey import Survey, installed
from kfunc.handlers.registry import RUNTIMES, how_to_install, missing_packages

IMPORT_S = 60.0
OLDEST = (3, 11)
MOST_TEXT = 300
VERSIONS = """\
import importlib, sys
for name in sys.argv[1:]:
    print(name, getattr(importlib.import_module(name), '__version__', ''))
"""
SURVEY = """\
import sys
from msgspec.json import encode
from kfunc.handlers.accelerators.survey import survey
print(encode(survey(sys.argv[1:])[0]).decode())
"""

Process = subprocess.Popen[str]


def python_findings() -> Iterator[Finding]:
    """The interpreter, and kfunc itself."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        yield Finding("python", "bad", f"Python {version}", "kfunc needs Python 3.11 or newer")
    else:
        yield Finding("python", "good", f"Python {version} at {sys.executable}, kfunc {__version__}")


def runtime_findings(needed: Collection[str]) -> Iterator[Finding]:
    """Each runtime: installed and importable, in a process of its own each, since a broken library may end it."""
    checks: dict[str, Process] = {}
    for runtime, entry in RUNTIMES.items():
        if entry.packages and not missing_packages(runtime):
            checks[runtime] = start(VERSIONS, *entry.packages)
    with ended(checks):
        ends_at = time.monotonic() + IMPORT_S
        for runtime, entry in RUNTIMES.items():
            missing = missing_packages(runtime) or _of_its_load(runtime)
            if missing:
                text = f"{runtime}: {', '.join(missing)} not installed"
                yield Finding("runtimes", "bad" if runtime in needed else "note", text, how_to_install(entry.extra))
            elif runtime in checks:
                yield _ended(runtime, checks[runtime], ends_at, how_to_install(entry.extra))
            else:
                needs = ", ".join(entry.distributions)
                yield Finding("runtimes", "good", f"{runtime}: {needs} installed" if needs else f"{runtime}: needs nothing")


def _of_its_load(runtime: str) -> list[str]:
    """What a runtime without packages of its start imports when it loads a model, as far as it is not installed."""
    entry = RUNTIMES[runtime]
    return [] if entry.packages else [name for name in entry.distributions if find_spec(name) is None]


def start(code: str, *arguments: str) -> Process:
    """A Python process that runs the code."""
    command = [sys.executable, "-P", "-c", code, *arguments]  # nothing of the working folder is imported
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


@contextmanager
def ended(checks: Mapping[str, Process]) -> Iterator[None]:
    """No process is left behind, as by Ctrl-C."""
    try:
        yield
    finally:
        for process in checks.values():
            if process.poll() is None:
                process.kill()
                process.communicate()


def _ended(runtime: str, check: Process, ends_at: float, advice: str) -> Finding:
    try:
        out, err = check.communicate(timeout=max(0.1, ends_at - time.monotonic()))
    except subprocess.TimeoutExpired:
        check.kill()
        check.communicate()
        return Finding(
            "runtimes", "bad", f"{runtime}: the import does not end within {IMPORT_S:g} s", f"install it anew: {advice}"
        )
    if check.returncode:
        last = (err.strip().splitlines() or [f"ended with exit status {check.returncode}"])[-1]
        return Finding("runtimes", "bad", f"{runtime}: cannot be imported: {last[:MOST_TEXT]}", f"install it anew: {advice}")
    return Finding("runtimes", "good", f"{runtime}: {', '.join(out.split(chr(10))).strip(', ')}")


def accelerator_findings(start: Callable[..., Process] = start) -> Iterator[Finding]:
    """The GPUs that processes of this machine may use, or why there are none; then what each runtime would run on."""
    found = facts()
    driver = f", driver {found.driver}" if found.driver else ""
    for gpu in found.gpus:
        memory = f" with {gpu.memory_bytes // 2**20} MiB" if gpu.memory_bytes else ""
        yield Finding("accelerators", "good", f"{gpu.name}{memory}{driver if gpu.vendor == 'nvidia' else ''}")
    if not found.gpus:
        yield Finding("accelerators", "note", f"models run on the processor here: {'; '.join(found.absent.values())}")
    checks = {runtime: start(SURVEY, runtime) for runtime in installed()}
    ends_at = time.monotonic() + IMPORT_S
    with ended(checks):
        for runtime, check in checks.items():
            yield surveyed(_survey(runtime, check, ends_at), with_reasons=bool(found.gpus))
    for runtime, entry in RUNTIMES.items():
        if entry.processor_only and not missing_packages(runtime):
            yield Finding("accelerators", "good", f"{runtime}: runs on cpu, and on nothing else")


def _survey(runtime: str, check: Process, ends_at: float) -> Survey:
    """What a process found out about a runtime, on the last line that it wrote: frameworks write some of their own."""
    try:
        out, err = check.communicate(timeout=max(0.1, ends_at - time.monotonic()))
        return msgspec.json.decode(out.strip().rpartition("\n")[2], type=Survey)
    except subprocess.TimeoutExpired:
        check.kill()
        check.communicate()
        return Survey(runtime, fault=f"it does not answer within {IMPORT_S:g} s")
    except msgspec.DecodeError:
        last = (err.strip().splitlines() or [f"its process ended with exit status {check.returncode}"])[-1]
        return Survey(runtime, fault=last[:MOST_TEXT])


def surveyed(survey: Survey, *, with_reasons: bool) -> Finding:
    """What `accelerator: auto` would try for a runtime, the best first; with reasons: why not the others."""
    if survey.fault:
        return Finding("accelerators", "note", f"{survey.runtime}: what it would run on is not known: {survey.fault}")
    passed = "".join(f"; not on {accelerator}: {reason}" for accelerator, reason in survey.passed if with_reasons)
    if not survey.candidates:
        return Finding("accelerators", "note", f"{survey.runtime}: runs on nothing here{passed}")
    then = f", else {', '.join(survey.candidates[1:])}" if survey.candidates[1:] else ""
    return Finding("accelerators", "good", f"{survey.runtime}: runs on {survey.candidates[0]}{then}{passed}")
