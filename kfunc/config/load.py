"""func.yaml → Function: parse, check types, check rules; all problems in one ConfigError."""

from pathlib import Path

from msgspec.structs import replace

from kfunc.config.check import check
from kfunc.config.deployment import Mode
from kfunc.config.field_path import FieldPath, show_path
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.inference import PINNED, ModelSource
from kfunc.config.names import service_name
from kfunc.config.rules import findings
from kfunc.config.source import Source, load_source
from kfunc.errors import ConfigError, Problem

MAX_PROBLEMS = 100


def load_function(path: Path, mode: Mode | None = None) -> Function:
    """Read and validate the file at `path`; without a name it gets its folder's. Raises ConfigError.

    `mode` is another than the file's own: what it says must hold with that.
    """
    function = read_function(load_source(path), mode)
    if function.name:
        return function
    return replace(function, name=service_name(path.absolute().parent.name))


def read_function(source: Source, mode: Mode | None = None) -> Function:
    """The function that a source describes, its name empty where there is none; pure. Raises ConfigError."""
    function, checked = check(Function, source)
    if mode is not None:
        function = replace(function, inference=replace(function.inference, mode=mode))
    problems = [*source.problems, *checked.problems]
    problems += [_place(finding, source) for finding in findings(function) if not _doubtful(finding, checked.invalid)]
    if problems:
        problems.sort(key=lambda problem: (problem.line, problem.column))
        more = [Problem(f"and {len(problems) - MAX_PROBLEMS} more problems")] if len(problems) > MAX_PROBLEMS else []
        raise ConfigError(problems[:MAX_PROBLEMS] + more, source.name, source.text)
    inference = function.inference
    models = [_unpinned(each) for each in inference.models]
    return replace(function, inference=replace(inference, model=_unpinned(inference.model), models=models))


def _unpinned(model: ModelSource) -> ModelSource:
    """`runtime: onnx==1.20.1` in its two parts."""
    name, _, version = model.runtime.partition(PINNED)
    return replace(model, runtime=name, runtime_version=version) if version else model


def _doubtful(finding: Finding, invalid: set[FieldPath]) -> bool:
    """Whether the finding is about a value that stands in for a wrong one, or has such a value within it."""
    path = finding.path
    return any(path[: len(wrong)] == wrong or wrong[: len(path)] == path for wrong in invalid)


def _place(finding: Finding, source: Source) -> Problem:
    place = source.place(finding.path)
    line, column = (place.key_line, place.key_column) if finding.at_key else (place.line, place.column)
    return Problem(finding.message, show_path(finding.path), line, column, finding.suggestion)
