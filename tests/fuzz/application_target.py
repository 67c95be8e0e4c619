"""Target: the handler's application whole, from a path, header fields and a body to the answer of a model that echoes."""

import asyncio
from functools import cache
from typing import Any

import msgspec

from kfunc.config.inference import Limits
from kfunc.errors import InvalidRequest, KfuncError
from kfunc.handlers.application import Application
from kfunc.handlers.contract import Handler
from kfunc.handlers.loaded import LoadedModel
from kfunc.http.exchange import Exchange
from kfunc.protocol.messages import TensorSpec
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder
from tests.fuzz.codec_targets import BINARY_SEEDS, END_OF_JSON, V1_SEEDS, V2_SEEDS
from tests.fuzz.engine import Target
from tests.fuzz.event_targets import BATCH, BINARY, STRUCTURED
from tests.fuzz.http_targets import CODING_SEEDS
from tests.handlers.conftest import Answers, configuration

LENGTH = b"inference-header-content-length"
BEHIND = b"behind"  # the length of what is before END_OF_JSON in the body
NOT_OFFERED = 501


class Echo(Handler):
    """Answers and explains with its inputs."""

    inputs = [TensorSpec("x", "FP32", [-1, 2])]

    def __init__(self, inputs: list[TensorSpec]) -> None:
        self.inputs = inputs

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs

    def explain(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs


@cache
def runner() -> asyncio.Runner:
    return asyncio.Runner()


@cache
def applications() -> list[Application]:
    """One whose model tells its inputs, and one whose model does not."""
    config = configuration(execution="loop", limits=Limits(max_body_bytes=100_000))
    found = []
    for inputs in ([TensorSpec("x", "FP32", [-1, 2])], []):
        application = Application(config, RequestRecorder(Metrics("handler"), access_log=False))
        application.serve(LoadedModel(config, Echo(inputs)))
        found.append(application)
    return found


async def ask(application: Application, exchange: Exchange) -> None:
    try:
        application.handle(exchange)
    except KfuncError as error:
        exchange.fail(error)
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.gather(*tasks)
    application.observe(exchange)


def call_application(content: bytes) -> str:
    """A line with method and path, lines of header fields, an empty line, the body."""
    head, _, body = content.partition(b"\n\n")
    start, *lines = head.split(b"\n")
    method, _, target = start.partition(b" ")
    fields = [line.partition(b":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in fields}
    if headers.get(LENGTH) == BEHIND:
        document, _, rest = body.partition(END_OF_JSON)
        headers[LENGTH], body = b"%d" % len(document), document + rest
    kinds = []
    for application in applications():
        answers = Answers()
        exchange = Exchange(answers, method, target, list(headers.items()), headers, True)
        exchange.body, exchange.complete = body, True
        runner().run(ask(application, exchange))
        assert exchange.status, "no answer"
        assert exchange.status < 500 or exchange.status == NOT_OFFERED, f"{exchange.status} {answers.body[:500]!r}"
        kinds.append(exchange.status)
    if min(kinds) >= 400:
        raise InvalidRequest(msgspec.json.decode(answers.body)["error"])
    return str(kinds)


PREDICT, INFER = b"POST /v1/models/iris:predict\n", b"POST /v2/models/iris/infer\n"
SEEDS = [
    b"GET %b\n\n" % path for path in (b"/", b"/v2", b"/v2/models/iris", b"/v1/models/iris", b"/openapi.json", b"/v2/models")
]
SEEDS += [PREDICT + b"\n" + seed for seed in V1_SEEDS]
SEEDS += [b"POST /v1/models/iris:explain\n\n" + V1_SEEDS[0], PREDICT + b"accept-encoding: gzip, *;q=0.5\n\n" + V1_SEEDS[3]]
SEEDS += [INFER + b"x-request-id: a\n\n" + seed for seed in V2_SEEDS]
SEEDS += [INFER + b"%b: %b\n\n" % (LENGTH, BEHIND) + seed.partition(b"\n")[2] for seed in BINARY_SEEDS]
SEEDS += [
    PREDICT + b"content-encoding: %b\n\n%b" % (seed.partition(b"\n")[0], seed.partition(b"\n")[2]) for seed in CODING_SEEDS
]
SEEDS += [b"POST /\ncontent-type: application/cloudevents+json\n\n" + seed for seed in STRUCTURED]
SEEDS += [b"POST /\ncontent-type: application/cloudevents-batch+json\n\n" + seed for seed in BATCH]
SEEDS += [b"POST /\n" + seed for seed in BINARY]
SEEDS += [b"POST /v2/repository/index\n\n{}"]

TARGETS = [Target("application", SEEDS, call_application)]
