"""The unary methods: inference, and the questions that REST answers with JSON."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from kfunc.grpc.asked import Asked, Taker, error_of, field_of, head_of
from kfunc.grpc.call import LARGE, Call, Parts
from kfunc.grpc.reading import check_question, read_later
from kfunc.http.exchange import Exchange
from kfunc.protocol.grpc import schema
from kfunc.protocol.grpc.answer import response_parts
from kfunc.protocol.grpc.methods import Method, named
from kfunc.protocol.grpc.plans import Plan
from kfunc.protocol.grpc.request import decode_request
from kfunc.protocol.grpc.rest import answer_parts, model_path, request_head, with_raw_data
from kfunc.protocol.json_length import JSON_LENGTH, number_of
from kfunc.protocol.messages import InferRequest, InferResponse

if TYPE_CHECKING:
    from kfunc.grpc.front import GrpcFront


class InferCall(Call):
    """ModelInfer. The answer is raw where the request was."""

    __slots__ = ("_raw",)

    def _read(self) -> None:
        found = self.front.plans.find(self.outer.body)
        if found is None:
            super()._read()
            return
        self._raw = True
        self._ask(found[1], found[0])

    def take(self, data: bytes, at: int) -> None:
        """The message is here, and not of a form that is known."""
        if len(data) > LARGE:
            self.spawn(self._take_later(data, at))
        else:
            self._taken(data, at, *decode_request(data, at, most=self.front.limits.max_body_bytes))

    async def _take_later(self, data: bytes, at: int) -> None:
        self._taken(data, at, *await read_later(data, at, self.front.limits.max_body_bytes))

    def _taken(self, data: bytes, at: int, request: InferRequest, raw: bool) -> None:
        self._raw = raw
        self._ask(request, self.front.plans.learn(data, request) if raw and at else None)

    def _ask(self, request: InferRequest, plan: Plan | None) -> None:
        memo: dict[str, Any] = {} if plan is None else plan.memo
        target = memo.get("target")
        if target is None:
            memo["target"] = target = model_path(named(request.model_name), request.model_version, "/infer")
        direct = self.front.direct
        if direct is None:
            self._ask_rest(request, target, memo)
            return
        self.asked = asked = Asked(self.outer, Taker(self), b"POST", target, None)
        answer = direct(asked, request)
        if type(answer) is InferResponse:
            self.succeed(response_parts(answer, raw=self._raw))
        else:
            self.spawn(self._answer_later(answer))  # type: ignore[arg-type]

    async def _answer_later(self, answer: Awaitable[InferResponse]) -> None:
        self.succeed(response_parts(await answer, raw=self._raw))

    def _ask_rest(self, request: InferRequest, target: bytes, memo: dict[str, Any]) -> None:
        text = memo.get("json")
        if text is None:
            memo["json"] = text = request_head(with_raw_data(request))
        self.asked = asked = Asked(self.outer, Taker(self), b"POST", target, head_of(self.outer, target, len(text)))
        asked.body = b"".join([text, *[tensor.data for tensor in request.inputs]])
        self.front.ask(asked)

    def translate(self, status: int, lines: bytes, body: bytes) -> Parts:
        """The ModelInferResponse of a V2 answer."""
        if status != 200:
            raise error_of(lines, status, body)
        length = number_of(field_of(lines, JSON_LENGTH))
        return answer_parts(body, len(body) if length is None else length, raw=self._raw)


class QuestionCall(Call):
    """A call that is a question of REST's."""

    __slots__ = ("_message", "_method")

    def __init__(self, front: "GrpcFront", outer: Exchange, method: Method) -> None:
        super().__init__(front, outer)
        self._method = method
        self._message: dict[str, Any] = {}

    def take(self, data: bytes, at: int) -> None:
        """Ask what the message asks."""
        check_question(len(data) - at)
        self._message = schema.decode(self._method.takes, data, at)
        question = self._method.ask(self._message)
        head = head_of(self.outer, question.target, None)
        self.asked = asked = Asked(self.outer, Taker(self), question.method, question.target, head)
        asked.body = question.body
        self.front.ask(asked)

    def translate(self, status: int, lines: bytes, body: bytes) -> Parts:
        """The method's answer."""
        return [self._method.read(self._message, status, body, field_of(lines, b"retry-after"))]
