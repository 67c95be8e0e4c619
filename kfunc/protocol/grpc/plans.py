"""Requests that differ in nothing but their raw tensors are read once.

Clients write a message's fields in order, raw tensors last. So what stands before them, and their lengths, tell
all of a request but the numbers: a Plan is found by comparing bytes.
"""

from itertools import pairwise
from typing import Any

from kfunc.protocol.grpc.request import RAW_INPUTS
from kfunc.protocol.grpc.wire import LENGTH, tag, varint
from kfunc.protocol.messages import InferRequest, Tensor

RAW_TAG = tag(RAW_INPUTS, LENGTH)
MAX_PLANS = 256
MAX_OF_ONE_SIZE = 4
MAX_OPENING = 4096  # bytes before the first tensor


class Plan:
    """What one form of body means. `memo` is for what is worked out from it."""

    __slots__ = ("_model", "_spans", "_tensors", "memo", "opening")

    def __init__(self, body: bytes, request: InferRequest, spans: list[tuple[int, int]]) -> None:
        self.opening = body[: spans[0][0]]
        self._model = (request.parameters, request.outputs, request.model_name, request.model_version)
        self._tensors = [(tensor.name, tensor.shape, tensor.datatype, tensor.parameters) for tensor in request.inputs]
        self._spans = [(b"", *spans[0])]
        self._spans += [(body[end:start], start, stop) for (_, end), (start, stop) in pairwise(spans)]
        self.memo: dict[str, Any] = {}

    def read(self, body: bytes) -> InferRequest | None:
        """The request in a body of the same length and opening; None where it is none of this form after all."""
        view = memoryview(body)
        inputs = []
        for (name, shape, datatype, parameters), (before, start, end) in zip(self._tensors, self._spans, strict=True):
            if before and body[start - len(before) : start] != before:
                return None
            inputs.append(Tensor(name, shape, datatype, view[start:end], parameters))
        return InferRequest(inputs, "", *self._model)


class Plans:
    """The forms seen so far, by the length of the body."""

    __slots__ = ("_by_size", "_count")

    def __init__(self) -> None:
        self._by_size: dict[int, list[Plan]] = {}
        self._count = 0

    def find(self, body: bytes) -> tuple[Plan, InferRequest] | None:
        """The plan for a body, and its request."""
        for plan in self._by_size.get(len(body), ()):
            if body.startswith(plan.opening):
                request = plan.read(body)
                if request is not None:
                    return plan, request
        return None

    def learn(self, body: bytes, request: InferRequest) -> Plan | None:
        """Remember what a body was found to mean; None where it cannot be told from others by its opening."""
        spans = self._spans(body, request)
        if spans is None or spans[0][0] > MAX_OPENING:
            return None
        plan = Plan(body, request, spans)
        known = self._by_size.setdefault(len(body), [])
        if len(known) >= MAX_OF_ONE_SIZE or self._count >= MAX_PLANS:
            self._by_size = {len(body): [plan]}
            self._count = 1
        else:
            known.append(plan)
            self._count += 1
        return plan

    def _spans(self, body: bytes, request: InferRequest) -> list[tuple[int, int]] | None:
        """Where the raw tensors lie, which must be the end of the body, each behind its tag and length."""
        if request.id or not request.inputs:
            return None
        spans = []
        at = len(body)
        for tensor in reversed(request.inputs):
            start = at - len(tensor.data)
            before = RAW_TAG + varint(len(tensor.data))
            if body[start - len(before) : start] != before:
                return None
            spans.append((start, at))
            at = start - len(before)
        return spans[::-1]
