"""Where func.yaml contradicts an ONNX file of the function's folder, or what a runtime can; of others the handler sees it."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import UNSET

from kfunc.cli.function import model_file, source_runtime
from kfunc.cli.onnx_inputs import onnx_inputs
from kfunc.config.field_path import FieldPath, show_path
from kfunc.config.function import Function
from kfunc.config.images import contradiction
from kfunc.config.inference import ModelSource
from kfunc.config.inference_rules import takes_pictures
from kfunc.config.locations import claim
from kfunc.config.model_addresses import is_remote
from kfunc.config.residency import PICTURES, shape_fits
from kfunc.config.source import Source
from kfunc.config.suggest import for_choice
from kfunc.errors import ModelLoadError, Problem
from kfunc.handlers.layout import find_models
from kfunc.handlers.registry import RUNTIMES

ONNX = "onnx"
IMAGES: FieldPath = ("inference", "images")


def contradictions(function: Function, source: Source, directory: Path) -> list[Problem]:
    """What `kfunc run` would refuse, without loading a model. Raises ModelLoadError."""
    inference = function.inference
    if inference.server is not UNSET:
        return []
    places: list[tuple[FieldPath, ModelSource]] = [(("inference", "model"), inference.model)]
    places += [(("inference", "models", number), each) for number, each in enumerate(inference.models)]
    problems: list[Problem] = []
    for number, (where, model) in enumerate(places):
        pictures = takes_pictures(inference, model)
        problems += _of_outputs(model, where, source, directory)
        inputs = _inputs(model, directory) if model.warmup.shapes or pictures else {}
        if inputs:
            problems += _of_warmup(model, where, source, inputs, pictures=pictures)
        if inputs and pictures:
            problems += _of_pictures(function, source, inputs, "" if number == 0 else f" {model.name}")
    return problems


def _inputs(model: ModelSource, directory: Path) -> dict[str, list[int]]:
    """The shapes of what is one ONNX file here; empty for anything else."""
    if model.sealed or is_remote(model.uri) or claim(model.uri):
        return {}
    found = find_models(model_file(directory, model.uri), "model", model.version, model.runtime, each_alone=True)
    return onnx_inputs(found[-1].path) if {each.runtime for each in found} == {ONNX} and len(found) == 1 else {}


def _of_outputs(model: ModelSource, where: FieldPath, source: Source, directory: Path) -> Iterator[Problem]:
    """Outputs are chosen of models whose runtime can; which there are the handler sees."""
    if not model.outputs:
        return
    try:
        runtime = source_runtime(model, directory)[0]
    except ModelLoadError:  # it is a problem already
        return
    if runtime in RUNTIMES and not RUNTIMES[runtime].chooses_outputs:
        path = (*where, "outputs")
        place = source.place(path)
        message = f"the runtime {runtime} answers with all outputs of a model"
        yield Problem(
            message, show_path(path), place.key_line, place.key_column, "remove outputs; requests of V2 may name some"
        )


def _of_warmup(
    model: ModelSource, where: FieldPath, source: Source, inputs: dict[str, list[int]], *, pictures: bool
) -> Iterator[Problem]:
    for name, shape in model.warmup.shapes.items():
        path = (*where, "warmup", "shapes", name)
        place = source.place(path)
        wanted = inputs.get(name)
        if wanted is None:
            near = for_choice(name, tuple(inputs)) or f"the model's inputs are {', '.join(inputs)}"
            yield Problem("the model has no such input", show_path(path), place.key_line, place.key_column, near)
        elif not shape_fits(shape, wanted) and not (pictures and shape_fits(shape, PICTURES)):
            message = f"expected the shape of the model's input, {wanted} (-1: any size), found {shape}"
            yield Problem(message, show_path(path), place.line, place.column)


def _of_pictures(function: Function, source: Source, inputs: dict[str, list[int]], name: str) -> Iterator[Problem]:
    images = function.inference.images
    if images is UNSET:
        return
    shapes = list(inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4:
        told = ", ".join(f"{each} {shape}" for each, shape in inputs.items())
        message, way, path = f"the model{name} must have one input of four dimensions; it has {told}", "remove images", IMAGES
    else:
        field, message, way = contradiction(shapes[0], images, f"the model{name}")
        path = (*IMAGES, field)
    if message:
        place = source.place(path if path == IMAGES or images.size is not UNSET or path[-1] != "size" else IMAGES)
        yield Problem(message, show_path(path), place.line, place.column, way)
