"""A model that takes pictures: a `Model` around the loaded one, which gets the numbers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.images import Images, contradiction, picture_side
from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, ModelFailed, ModelLoadError
from kfunc.handlers.in_flight import InFlight
from kfunc.handlers.pictures import picture_bytes
from kfunc.handlers.registry import how_to_install
from kfunc.handlers.slots import Loaded
from kfunc.handlers.tensors import DATATYPE_OF, NUMERIC
from kfunc.handlers.wrapping import Wrapping
from kfunc.protocol import v1
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from kfunc.protocol.pictures import ANY_PICTURE, MEDIA_TYPE

if TYPE_CHECKING:
    from kfunc.handlers.pixels import Target

LABEL, SCORE = "label", "score"


class ImageModel(Wrapping):
    """Pictures in, what the model answers, or labels with their scores, out. Other inputs pass to the model as they are."""

    takes_images = True

    def __init__(self, model: Loaded, config: PodConfig, settings: Images, find: Callable[[str], Awaitable[Loaded]]) -> None:
        try:
            from kfunc.handlers import pixels
        except ImportError:
            raise ModelLoadError(f"inference.images needs Pillow: {how_to_install('images')}") from None
        super().__init__(model)
        self._pixels = pixels
        self._settings = settings
        self._find = find
        self._in_flight = InFlight(config.limits.max_concurrency)
        own = model.metadata
        self._input = _picture_input(own)
        self.other_inputs = [self._input]  # a request may bring numbers, too
        self._target = _target(self._input, settings, config.model.name)
        self._labels = _read_labels(settings.labels)
        _check_scores(own.outputs, settings.output, len(self._labels))
        outputs = [TensorSpec(LABEL, "BYTES", [-1, -1]), TensorSpec(SCORE, "FP32", [-1, -1])] if self._labels else own.outputs
        told = {**(own.parameters or {}), MEDIA_TYPE: ANY_PICTURE}
        pictures = TensorSpec(self._input.name, "BYTES", [-1])
        self.metadata = replace(own, inputs=[pictures], outputs=outputs, parameters=told)

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """Decode in a thread, ask the model, name the classes. Raises InvalidRequest for what is no picture."""
        request = self._typed(request)
        pictures = self._pictures(request)
        return self.inner.infer(request, context) if pictures is None else self._answer(request, pictures, context)

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """The model's explanation of a picture; labels are not put in."""
        request = self._typed(request)
        pictures = self._pictures(request)
        if pictures is None:
            return self.inner.explain(request, context)
        return self._answer(request, pictures, context, explained=True)

    async def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """One part."""
        answer = self.infer(request, context)
        yield answer if isinstance(answer, InferResponse) else await answer

    def retire(self) -> None:
        """Close when the calls have ended, also those whose pictures are still being decoded."""
        self._in_flight.end(self.inner.retire)

    def sample(self, shapes: dict[str, list[int]]) -> list[Tensor]:
        """Black pictures, for a warm-up: as many as `shapes` says of the model's input, or one."""
        count = shapes.get(self._input.name, [1])[0]
        return [Tensor(self._input.name, [count], "BYTES", [self._pixels.black_picture(self._target)] * count)]

    # ---- what comes

    def _typed(self, request: InferRequest) -> InferRequest:
        """A V1 request of pictures with its types; rows of numbers are the model's own input, and the model's to read."""
        if type(request) is not v1.V1Request:
            return request
        first: Any = request.inputs[0].data
        numbers = type(first) is list and bool(first) and type(first[0]) in (list, int, float)
        return request if numbers else v1.typed(request, self.metadata)

    def _pictures(self, request: InferRequest) -> list[bytes] | None:
        """The pictures of a request; None where it brings numbers."""
        if len(request.inputs) != 1 or request.inputs[0].datatype != "BYTES":
            return None
        (tensor,) = request.inputs
        if tensor.name != self._input.name:
            raise InvalidRequest(f"unknown input {tensor.name!r}; the model's input is {self._input.name}")
        from kfunc.handlers.tensors import to_array

        return [picture_bytes(each) for each in to_array(tensor).ravel().tolist()]

    # ---- the way through

    async def _answer(
        self, request: InferRequest, pictures: list[bytes], context: Context, *, explained: bool = False
    ) -> InferResponse:
        with self._in_flight:
            images = await asyncio.get_running_loop().run_in_executor(None, self._open, pictures)
            chosen = await self._chosen(images)
            if chosen is self:
                return await self._answer_opened(request, images, context, explained)
            return await chosen.answer_opened(request, images, context, explained)

    async def answer_opened(self, request: InferRequest, images: list[Any], context: Context, explained: bool) -> InferResponse:
        """The answer to pictures whose heads another model has read."""
        with self._in_flight:
            return await self._answer_opened(request, images, context, explained)

    async def _answer_opened(
        self, request: InferRequest, images: list[Any], context: Context, explained: bool
    ) -> InferResponse:
        arrays = await asyncio.get_running_loop().run_in_executor(None, self._decode, images)
        ask = self.inner.explain if explained else self.inner.infer
        answer = ask(self._with(request, arrays), context)
        response = answer if isinstance(answer, InferResponse) else await answer
        return replace(response, outputs=self._named(response.outputs)) if self._labels and not explained else response

    def _open(self, pictures: list[bytes]) -> list[Any]:
        return [self._pixels.opened(data, number, self._settings) for number, data in enumerate(pictures)]

    def _decode(self, images: list[Any]) -> "np.ndarray[Any, Any]":
        return np.stack([self._pixels.to_array(each, at, self._settings, self._target) for at, each in enumerate(images)])

    async def _chosen(self, images: list[Any]) -> "ImageModel":
        """The model for pictures of this size, by the rule of func.yaml."""
        longest = max((max(each.size) for each in images), default=0)
        for choice in self._settings.choose:
            if longest <= choice.max_side:
                other = await self._find(choice.model)
                return other if isinstance(other, ImageModel) else self
        return self

    def _with(self, request: InferRequest, arrays: "np.ndarray[Any, Any]") -> InferRequest:
        data = memoryview(arrays.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        tensor = Tensor(self._input.name, list(arrays.shape), DATATYPE_OF[arrays.dtype], data)
        outputs = None if self._labels else request.outputs
        return InferRequest([tensor], request.id, request.parameters, outputs, request.model_name, request.model_version)

    def _named(self, outputs: list[Tensor]) -> list[Tensor]:
        """Labels and scores, the best first."""
        wanted = self._settings.output or outputs[0].name
        found = next((each for each in outputs if each.name == wanted), None)
        if found is None or len(found.shape) < 2 or found.datatype not in NUMERIC:
            raise ModelFailed(f"images.output: {wanted!r} is no output with a row of scores for each picture")
        scores = np.asarray(found.data, np.float32).reshape(found.shape[0], -1)
        if scores.shape[1] != len(self._labels):
            raise ModelFailed(f"images.labels has {len(self._labels)} names, the model gives {scores.shape[1]} scores")
        if self._settings.softmax:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._settings.top]
        names = [self._labels[index] for index in best.ravel().tolist()]
        shape = list(best.shape)
        return [
            Tensor(LABEL, shape, "BYTES", names),
            Tensor(SCORE, shape, "FP32", np.take_along_axis(scores, best, axis=1).ravel()),
        ]


def _picture_input(metadata: ModelMetadata) -> TensorSpec:
    """The only input, of four dimensions. Raises ModelLoadError."""
    if len(metadata.inputs) == 1 and len(metadata.inputs[0].shape) == 4:
        return metadata.inputs[0]
    told = ", ".join(f"{each.name} {list(each.shape)}" for each in metadata.inputs) or "none that it tells"
    raise ModelLoadError(f"inference.images: the model {metadata.name} must have one input of four dimensions; it has {told}")


def _target(spec: TensorSpec, settings: Images, name: str) -> "Target":
    from kfunc.handlers.pixels import Target

    field, how, way = contradiction(list(spec.shape), settings, f"the model {name}")
    if field:
        raise ModelLoadError(f"inference.images.{field}: {how}: {way}")
    first, _, width, height = picture_side(list(spec.shape), settings)
    if settings.size is not UNSET:
        width, height = settings.size
    known = {"FP32": "float32", "FP16": "float16", "FP64": "float64", "UINT8": "uint8"}
    if spec.datatype not in known:
        raise ModelLoadError(f"inference.images: the model {name} takes {spec.datatype}; pictures are {', '.join(known)}")
    return Target(width, height, first, known[spec.datatype])


def _check_scores(outputs: list[TensorSpec], wanted: str, labels: int) -> None:
    """Refuse labels that are not one for each score, where the model says at the start how many it gives."""
    found = next((each for each in outputs if each.name == (wanted or outputs[0].name)), None)
    scores = prod(found.shape[1:]) if found is not None and len(found.shape) > 1 and min(found.shape[1:]) > 0 else labels
    if labels and scores != labels:
        raise ModelLoadError(f"images.labels has {labels} names, and the model gives {scores} scores: name each one")


def _read_labels(file: str) -> list[str]:
    if not file:
        return []
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise ModelLoadError(f"inference.images.labels: {file} cannot be read") from None
    return text.removesuffix("\n").split("\n")  # and at nothing else: a label may hold any other character
