"""Shapes of a warm-up that contradict an ONNX file of the function's folder; of other models the handler sees it."""

from pathlib import Path

from msgspec import UNSET

from kfunc.cli.function import model_file
from kfunc.cli.onnx_inputs import onnx_inputs
from kfunc.config.field_path import FieldPath, show_path
from kfunc.config.function import Function
from kfunc.config.inference import ModelSource
from kfunc.config.locations import claim
from kfunc.config.model_addresses import is_remote
from kfunc.config.residency import shape_fits
from kfunc.config.source import Source
from kfunc.config.suggest import for_choice
from kfunc.errors import Problem
from kfunc.handlers.layout import find_models

ONNX = "onnx"
PICTURES = [-1]


def warmup_problems(function: Function, source: Source, directory: Path) -> list[Problem]:
    """What `kfunc run` would refuse, without loading a model. Raises ModelLoadError."""
    inference = function.inference
    places: list[tuple[FieldPath, ModelSource]] = [(("inference", "model"), inference.model)]
    places += [(("inference", "models", number), each) for number, each in enumerate(inference.models)]
    return [
        problem
        for where, model in places
        if model.warmup.shapes and inference.server is UNSET and not (model.sealed or is_remote(model.uri) or claim(model.uri))
        for problem in _contradictions(model, where, source, directory, pictures=inference.images is not UNSET)
    ]


def _contradictions(model: ModelSource, where: FieldPath, source: Source, directory: Path, *, pictures: bool) -> list[Problem]:
    found = find_models(model_file(directory, model.uri), "model", model.version, model.runtime, each_alone=True)
    inputs = onnx_inputs(found[-1].path) if {each.runtime for each in found} == {ONNX} and len(found) == 1 else {}
    problems = []
    for name, shape in model.warmup.shapes.items() if inputs else ():
        path = (*where, "warmup", "shapes", name)
        place = source.place(path)
        wanted = inputs.get(name)
        if wanted is None:
            near = for_choice(name, tuple(inputs)) or f"the model's inputs are {', '.join(inputs)}"
            problems.append(Problem("the model has no such input", show_path(path), place.key_line, place.key_column, near))
        elif not shape_fits(shape, wanted) and not (pictures and shape_fits(shape, PICTURES)):
            message = f"expected the shape of the model's input, {wanted} (-1: any size), found {shape}"
            problems.append(Problem(message, show_path(path), place.line, place.column))
    return problems
