"""Requests that a model answers before it is ready: what is done once, it has done then."""

import logging
from pathlib import Path
from typing import Any

import msgspec

from kfunc.config.residency import Warmup, shape_fits
from kfunc.errors import InvalidRequest, KfuncError, ModelFailed, ModelLoadError
from kfunc.handlers.slots import Loaded
from kfunc.protocol import v1, v2
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor, TensorSpec
from kfunc.telemetry.log_lines import PROGRESS

log = logging.getLogger("kfunc.model")
progress_log = logging.getLogger(PROGRESS)


class Alone:
    """The context of a request that nobody waits for."""

    queue_s = compute_s = compute_at = deadline = 0.0
    headers: dict[bytes, bytes] = {}
    cancelled = False


async def warm_up(model: Loaded, warmup: Warmup) -> None:
    """Ask the model `warmup.count` times. Raises ModelLoadError where it does not answer; one that zeros mean nothing to may
    be good, and is served all the same."""
    name = model.metadata.name
    body = _read(warmup.file) if warmup.file else b""
    for _ in range(warmup.count):
        try:
            await _ask(model, _from_file(body, name) if warmup.file else InferRequest(_guessed(model, warmup), model_name=name))
        except (InvalidRequest, ModelFailed) as error:
            does = "refuses" if isinstance(error, InvalidRequest) else "fails at"
            if warmup.file:
                raise ModelLoadError(f"{warmup.file}: {name} {does} it (model.warmup.file): {error.message}") from None
            what = "zeros in the form of model.warmup.shapes" if warmup.shapes else "zeros"
            told = "model %s: %s a request of %s, and is not warm; let model.warmup.file name a real one: %s"
            log.warning(told, name, does, what, error.message)
            return
        except KfuncError as error:
            raise ModelLoadError(f"the model {name} does not answer its warm-up (model.warmup): {error.message}") from None
    if warmup.count:
        progress_log.info("model %s: warmed up with %d requests", name, warmup.count)


def check_shapes(model: Loaded, shapes: dict[str, list[int]]) -> None:
    """Raises ModelLoadError where `model.warmup.shapes` contradict what the model says of its inputs."""
    inputs = [*model.metadata.inputs, *model.other_inputs]
    for name, shape in shapes.items() if inputs else ():  # a model that tells none takes any
        wanted = [list(spec.shape) for spec in inputs if spec.name == name]
        if not wanted:
            raise _unknown(name, list(dict.fromkeys(spec.name for spec in inputs)))
        if not any(shape_fits(shape, each) for each in wanted):
            takes = " or ".join(map(str, wanted))
            raise ModelLoadError(
                f"model.warmup.shapes says {shape} of the input {name!r}, and the model takes {takes} (-1: any size)"
            )


def _unknown(name: str, known: list[str]) -> ModelLoadError:
    from difflib import get_close_matches  # start-up time

    near = get_close_matches(name, known, n=1)
    meant = f": did you mean {near[0]!r}?" if near else ""
    return ModelLoadError(f"model.warmup.shapes names {name!r}{meant}; the model's inputs are {', '.join(known)}")


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{file}: cannot be read (model.warmup.file): {error.strerror}") from None


def _from_file(body: bytes, name: str) -> InferRequest:
    """A request of V2 where its inputs are a list of tensors, else of V1. Raises InvalidRequest."""
    try:
        inputs = msgspec.json.decode(body, type=_Inputs).inputs
    except msgspec.DecodeError:
        inputs = None
    is_v2 = isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict) and "datatype" in inputs[0]
    return (v2.decode_request if is_v2 else v1.decode_request)(body, name)


class _Inputs(msgspec.Struct):
    inputs: Any = None


def _guessed(model: Loaded, warmup: Warmup) -> list[Tensor]:
    """What the model shows as a sample of its own, or zeros."""
    sample = model.sample(warmup.shapes)
    return zeros(model.metadata.inputs, warmup.shapes) if sample is None else sample


async def _ask(model: Loaded, request: InferRequest) -> None:
    if model.yields:
        async for _ in model.stream(request, Alone()):
            pass
        return
    answer = model.infer(request, Alone())
    if not isinstance(answer, InferResponse):
        await answer


def zeros(inputs: list[TensorSpec], shapes: dict[str, list[int]]) -> list[Tensor]:
    """An input for each of the model's, or of those in `shapes` where it does not tell its own. Raises ModelLoadError."""
    specs = inputs or [TensorSpec(name, "FP32", shape) for name, shape in shapes.items()]
    if not specs:
        raise ModelLoadError("the model does not tell its inputs: model.warmup.shapes must name them")
    return [_zero(spec, shapes.get(spec.name) or [1 if size < 0 else size for size in spec.shape]) for spec in specs]


def _zero(spec: TensorSpec, shape: list[int]) -> Tensor:
    import numpy as np

    from kfunc.handlers.tensors import BINARY

    if spec.datatype == "BYTES":
        count = int(np.prod(shape))
        return Tensor(spec.name, shape, "BYTES", [b""] * count)
    array: np.ndarray[Any, Any] = np.zeros(shape, BINARY[spec.datatype])
    return Tensor(spec.name, shape, spec.datatype, memoryview(array.tobytes()))
