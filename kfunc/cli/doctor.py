"""`kfunc doctor`: whether this machine and the cluster have what functions need, and what to do where they do not."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import msgspec

from kfunc.cli.doctor_cluster import cluster_findings
from kfunc.cli.doctor_function import function_findings, needed_runtimes, read
from kfunc.cli.doctor_local import accelerator_findings, python_findings, runtime_findings
from kfunc.cli.doctor_network import registry_findings, sink_findings
from kfunc.cli.exit_status import FAILED
from kfunc.cli.findings import Finding, lines
from kfunc.cli.function import FILE_NAME
from kfunc.cli.on_cluster import cluster_options
from kfunc.config.function import Function
from kfunc.errors import StartupError

EPILOG = """\b
Example:
  kfunc doctor
  kfunc doctor examples/wine-sklearn --output json
"""


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@cluster_options
def doctor(directory: Path, namespace: str, context: str, output: str) -> int:
    """Look at Python, runtimes, accelerators, cluster, registry and sinks; each with what to do.

    With a func.yaml in DIR (default: here) it is about what that function needs. Exit status 1 if anything is bad.
    """
    if not directory.exists():
        raise StartupError(f"there is no folder {directory}; name one with a {FILE_NAME}, or none for this machine alone")
    found: list[Finding] = []
    coming = kept(examined(directory, namespace, context), found)
    if output == "json":
        findings = list(coming)
        click.echo(msgspec.json.encode({"good": not bad(findings), "findings": findings}))
    else:
        for line in lines(coming):  # some checks take a minute
            click.echo(line)
    return FAILED if bad(found) else 0


def kept(findings: Iterable[Finding], found: list[Finding]) -> Iterator[Finding]:
    """Each finding as it comes, put into `found` too."""
    for finding in findings:
        found.append(finding)
        yield finding


def bad(findings: list[Finding]) -> bool:
    """Whether anything keeps functions from working."""
    return any(finding.verdict == "bad" for finding in findings)


def examined(directory: Path, namespace: str, context: str) -> Iterator[Finding]:
    """All findings, one check after the other."""
    function, problems = function_here(directory)
    folder = directory if directory.is_dir() else directory.parent
    yield from python_findings()
    yield from runtime_findings([] if function is None else needed_runtimes(function, folder))
    yield from accelerator_findings()
    yield from problems
    if function is not None:
        yield from function_findings(function, folder)
    yield from cluster_findings(directory if function else None, namespace, context)
    if function is not None:
        yield from registry_findings(function)
        yield from sink_findings(function)


def function_here(directory: Path) -> tuple[Function | None, list[Finding]]:
    """The function of a folder, and what is wrong with its file. Nothing of that where there is none."""
    file = directory / FILE_NAME if directory.is_dir() else directory
    return read(file) if file.is_file() else (None, [])
