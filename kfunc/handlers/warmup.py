"""Requests that a model answers before it is ready: what is done once, it has done then."""

import logging
from typing import Any

from kfunc.config.residency import Warmup
from kfunc.errors import KfuncError, ModelLoadError
from kfunc.protocol.contract import Model
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor, TensorSpec
from kfunc.telemetry.log_lines import PROGRESS

log = logging.getLogger("kfunc.model")
progress_log = logging.getLogger(PROGRESS)


class Alone:
    """The context of a request that nobody waits for."""

    queue_s = compute_s = compute_at = deadline = 0.0
    headers: dict[bytes, bytes] = {}
    cancelled = False


async def warm_up(model: Model, warmup: Warmup) -> None:
    """Ask the model `warmup.requests` times. Raises ModelLoadError where it does not answer."""
    name = model.metadata.name
    for _ in range(warmup.requests):
        try:
            await _ask(model, InferRequest(zeros(model.metadata.inputs, warmup.shapes), model_name=name))
        except KfuncError as error:
            raise ModelLoadError(f"the model {name} does not answer its warm-up (model.warmup): {error.message}") from None
    if warmup.requests:
        progress_log.info("model %s: warmed up with %d requests", name, warmup.requests)


async def _ask(model: Model, request: InferRequest) -> None:
    if getattr(model, "yields", False):
        async for _ in model.stream(request, Alone()):
            pass
        return
    answer = model.infer(request, Alone())
    if not isinstance(answer, InferResponse):
        await answer


def zeros(inputs: list[TensorSpec], shapes: dict[str, list[int]]) -> list[Tensor]:
    """An input for each of the model's, or of those in `shapes` where it does not tell its own. Raises ModelLoadError."""
    known = {spec.name: spec for spec in inputs}
    unknown = [name for name in shapes if inputs and name not in known]
    if unknown:
        raise ModelLoadError(f"model.warmup.shapes names {unknown[0]!r}; the model's inputs are {', '.join(known)}")
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
