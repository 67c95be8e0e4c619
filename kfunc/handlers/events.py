"""CloudEvents in, CloudEvents out: the event's data are the request, and the answer is an event of the same mode.

What fails with a single event is a plain HTTP error, by which the sender knows whether to deliver it again
(Knative Eventing Data Plane Contract, Event Acknowledgement and Delivery Retry).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from msgspec import Raw, Struct

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, KfuncError, UnsupportedMediaType
from kfunc.handlers.forms import Form
from kfunc.http.exchange import Exchange
from kfunc.http.identity import new_request_id
from kfunc.http.wire import Headers, error_body
from kfunc.protocol import cloudevents
from kfunc.protocol.cloudevents import JSON, OCTETS, is_json_type
from kfunc.protocol.incoming_events import (
    BATCHED,
    STRUCTURED,
    Event,
    Value,
    baggage,
    decode_binary,
    decode_structured,
    integer,
    media_type,
    passed_on,
    split_batch,
    trace,
)
from kfunc.protocol.json_length import JSON_LENGTH
from kfunc.protocol.messages import InferRequest, Tensor, TensorSpec
from kfunc.protocol.own_events import source_of

if TYPE_CHECKING:
    from kfunc.handlers.inference import Endpoint, Inference
    from kfunc.handlers.slots import Loaded, Slot

log = logging.getLogger("kfunc.handlers")

RESPONSE_TYPE = "io.kfunc.inference.response"
ERROR_TYPE = "io.kfunc.inference.error"
ACKNOWLEDGED = 202  # and nothing to reply: the function's own events came back to it
# Inference-Header-Content-Length as an attribute: names have no hyphens, and at most 20 letters.
LENGTH = "inferenceheaderlen"
AT_ONCE = 32  # events of a batch that are in the model or wait for it
# What curl says of a body when it is not told; the body is looked at, as without an event.
FORM = "application/x-www-form-urlencoded"

Answer = tuple[bytes, int]
"""An encoded answer, and the length of its JSON part where binary tensors follow, else 0."""


class Call(Struct, gc=False):
    """An event as a request: `data`, of which `json_length` bytes are JSON before binary tensors (None: all)."""

    event: Event
    json_length: int | None
    structured: bool

    @property
    def other_type(self) -> str:
        """The content type of data that are neither JSON nor JSON with binary tensors; else empty."""
        kind = self.event.content_type
        return "" if self.json_length is not None or is_json_type(kind) or kind.startswith(FORM) else kind


class Events:
    """Answers the events of one function."""

    def __init__(self, config: PodConfig, inference: "Inference") -> None:
        self._inference = inference
        self._source = source_of(config.namespace, config.function)
        self._second = (0, "")

    def answer(self, exchange: Exchange, endpoint: "Endpoint", form: Form, body: bytes) -> None:
        """Ask the model with the event's data, and answer with an event; `body` is without its content coding."""
        kind = media_type(exchange.headers.get(b"content-type", b""))
        if kind == BATCHED:
            self._inference.spawn(exchange, self._answer_batch(exchange, endpoint, form, body))
            return
        event = decode_structured(body) if kind == STRUCTURED else decode_binary(exchange.headers, body)
        if self._is_own(event):
            exchange.respond(ACKNOWLEDGED)
            return
        call = call_of(event, form.json_length, structured=kind == STRUCTURED)
        brought = passed_on(event, exchange.headers)
        if brought:
            exchange.headers = {**exchange.headers, **brought}  # the head may be other requests' too
        answer = self._ask(exchange, endpoint, call)
        if isinstance(answer, tuple):
            self._reply(exchange, endpoint, form, call, answer)
        else:
            self._inference.spawn(exchange, self._reply_later(exchange, endpoint, form, call, answer))

    def _ask(self, exchange: Exchange, endpoint: "Endpoint", call: Call) -> Answer | Awaitable[Answer]:
        slot, inference = endpoint.slot, self._inference
        if call.other_type:
            coming = slot.taken().coming()
            if coming is not None:
                return self._ask_later(exchange, endpoint, call, coming)
            request = raw_request(call, slot.taken().metadata.inputs, slot.name, slot.version)
        else:
            request = inference.decode(endpoint, call.event.data, call.json_length)
        return inference.ask(exchange, endpoint, request)

    async def _ask_later(self, exchange: Exchange, endpoint: "Endpoint", call: Call, coming: Awaitable["Loaded"]) -> Answer:
        await coming
        answer = self._ask(exchange, endpoint, call)
        return answer if isinstance(answer, tuple) else await answer

    async def _reply_later(
        self, exchange: Exchange, endpoint: "Endpoint", form: Form, call: Call, answer: Awaitable[Answer]
    ) -> None:
        self._reply(exchange, endpoint, form, call, await answer)

    def _reply(self, exchange: Exchange, endpoint: "Endpoint", form: Form, call: Call, answer: Answer) -> None:
        body, json_length = answer
        attributes = self._attributes_of_reply(call, exchange, endpoint.slot, json_length)
        fields: Headers = []
        if call.structured:
            body, kind = cloudevents.close_event(attributes, body), cloudevents.CONTENT_TYPE
        else:
            fields = cloudevents.header_fields(attributes)
            kind = OCTETS.encode() if json_length else JSON.encode()
            if json_length:
                fields.append((JSON_LENGTH, b"%d" % json_length))
        self._inference.send(exchange, form, body, kind, fields)

    # ---- batches

    async def _answer_batch(self, exchange: Exchange, endpoint: "Endpoint", form: Form, body: bytes) -> None:
        """An event for each event but for the function's own, in their order.

        One that fails is answered by an event too, and fails no other.
        """
        documents = split_batch(body)
        answers: list[bytes] = []
        for start in range(0, len(documents), AT_ONCE):
            if exchange.cancelled:
                return
            some = documents[start : start + AT_ONCE]
            answers += await asyncio.gather(*[self._answer_one(exchange, endpoint, each) for each in some])
        answers = [answer for answer in answers if answer]
        if documents and not answers:
            exchange.respond(ACKNOWLEDGED)
        else:
            self._inference.send(exchange, form, b"[%b]" % b",".join(answers), cloudevents.BATCH_CONTENT_TYPE, [])

    async def _answer_one(self, exchange: Exchange, endpoint: "Endpoint", document: Raw) -> bytes:
        """An event; nothing for one of the function's own."""
        call = None
        try:
            event = decode_structured(bytes(document))
            if self._is_own(event):
                return b""
            call = call_of(event, None, structured=True)
            answer = self._ask(exchange, endpoint, call)
            body, json_length = answer if isinstance(answer, tuple) else await answer
            attributes = self._attributes_of_reply(call, exchange, endpoint.slot, json_length)
            return cloudevents.close_event(attributes, body)
        except KfuncError as failure:
            error = failure
        except Exception:
            log.exception("an event of a batch failed", extra={"exchange": exchange})
            error = KfuncError("internal error; the log of the server says more")
        attributes = self._attributes(ERROR_TYPE, endpoint.slot)
        if call is not None:
            attributes["correlationid"] = correlation(call.event)
        attributes["statuscode"] = error.status
        return cloudevents.close_event(attributes, error_body(error.message))

    # ---- attributes

    def _is_own(self, event: Event) -> bool:
        """Whether the function made it: answered, it would come back again, and again."""
        return event.attributes["source"] == self._source

    def _attributes_of_reply(self, call: Call, exchange: Exchange, slot: "Slot", json_length: int) -> dict[str, Value]:
        attributes = self._attributes(RESPONSE_TYPE, slot)
        attributes["correlationid"] = correlation(call.event)
        attributes |= trace(call.event, exchange.headers, traced=exchange.trace is not None)
        attributes |= baggage(call.event, exchange.headers)
        if json_length:
            attributes["datacontenttype"] = OCTETS
            attributes[LENGTH] = json_length
        return attributes

    def _attributes(self, kind: str, slot: "Slot") -> dict[str, Value]:
        now = time.time()
        whole = int(now)
        if whole != self._second[0]:
            self._second = (whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)))
        return {
            "id": new_request_id().decode(),
            "source": self._source,
            "type": kind,
            "subject": slot.name,
            "time": f"{self._second[1]}.{int((now - whole) * 1e6):06}Z",
            "datacontenttype": JSON,
            "model": slot.name,
            "modelversion": slot.version,
        }


def call_of(event: Event, json_length: int | None, *, structured: bool) -> Call:
    """An event as a request; `json_length` is what Inference-Header-Content-Length says.

    Raises InvalidRequest naming what is missing, or UnsupportedMediaType.
    """
    if structured or json_length is None:
        json_length = integer(event, LENGTH)
    if "contentencoding" in event.attributes:
        raise UnsupportedMediaType("the event's attribute contentencoding is not read; send its data without a content coding")
    if not event.data:
        raise InvalidRequest("the event has no data; a V1 or V2 inference request is expected")
    return Call(event, json_length, structured)


def correlation(event: Event) -> str:
    """What an answer's `correlationid` is: the one that the event brings, else its id."""
    return str(event.attributes.get("correlationid") or event.id)


def raw_request(call: Call, inputs: list[TensorSpec], model_name: str, model_version: str) -> InferRequest:
    """Data that are no request, an image say: the one element of the model's only input, which must be BYTES."""
    if len(inputs) > 1 or (inputs and inputs[0].datatype != "BYTES"):
        raise UnsupportedMediaType(
            f"data of the type {call.other_type[:60]!r} are for models whose only input is BYTES; here {JSON} with a V1 or V2 "
            f"request is expected, or {OCTETS} with binary tensors and the attribute {LENGTH}"
        )
    name, shape = (inputs[0].name, [1] * len(inputs[0].shape)) if inputs else ("input-0", [1])
    return InferRequest([Tensor(name, shape, "BYTES", [call.event.data])], model_name=model_name, model_version=model_version)
