"""Which of kfunc's extras, which pins and which further files a function's image needs: by its func.yaml alone."""

from pathlib import Path

from msgspec import UNSET, Struct

from kfunc.config import model_addresses, sink_addresses
from kfunc.config.function import Function
from kfunc.config.inference import ModelSource
from kfunc.handlers.registry import RUNTIMES
from kfunc.handlers.versions import requirement

GPU_EXTRAS = {"onnx": "onnx-gpu"}
WITHOUT_PAGE = ("auto", "none")


class Needed(Struct, frozen=True):
    """One of the function's models: its place on this machine, if it is here, and its runtimes, as far as they can be known."""

    source: ModelSource
    file: Path | None
    runtimes: list[str]


def extras(function: Function, models: list[Needed], variant: str) -> tuple[str, ...]:
    """kfunc's extras for runtimes, storage, sinks and what else func.yaml asks for."""
    wanted = {RUNTIMES[runtime].extra for model in models for runtime in model.runtimes}
    if variant == "cuda":
        wanted = {GPU_EXTRAS.get(extra, extra) for extra in wanted}
    inference = function.inference
    if inference.logger is not UNSET:
        schemes = [each.partition(":")[0] for each in sink_addresses.targets(inference.logger)]
        wanted |= {sink_addresses.KINDS[scheme].extra for scheme in schemes if scheme in sink_addresses.KINDS}
        wanted |= {"parquet" for sink in inference.logger.sinks if sink.format == "parquet"}
    for source in (model.source for model in models):
        if model_addresses.is_remote(source.uri):
            wanted.add(model_addresses.parse_address(source.uri).kind.extra)
        wanted |= {"sealed"} if source.sealed else set()
    if inference.images is not UNSET:
        wanted.add("images")
    if inference.explain is not UNSET:
        wanted.add("captum" if inference.explain.method == "captum" else "explain")
    wanted |= {"page"} if inference.page not in WITHOUT_PAGE else set()
    return tuple(sorted(wanted - {""}))


def pinned(models: list[Needed]) -> tuple[str, ...]:
    """The runtimes' libraries in func.yaml's versions, as requirements."""
    versions = [(runtime, model.source.runtime_version) for model in models for runtime in model.runtimes]
    found = [requirement(runtime, version) for runtime, version in versions if version]
    return tuple(dict.fromkeys(each for each in found if each))


def named_files(function: Function, folder: Path) -> tuple[Path, ...]:
    """The files beside the model that func.yaml names, as far as they are in the folder."""
    inference = function.inference
    names = [inference.explain.background] if inference.explain is not UNSET else []
    names += [model.warmup.file for model in (inference.model, *inference.models)]
    names += [inference.images.labels] if inference.images is not UNSET and isinstance(inference.images.labels, str) else []
    return tuple(folder / name for name in names if name and (folder / name).is_file())
