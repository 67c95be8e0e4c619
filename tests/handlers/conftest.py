import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.config.inference import Limits
from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import KfuncError, Unsupported
from kfunc.handlers.application import Application
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.slots import InMemory, Served
from kfunc.handlers.tracing import HandlerDetails, TracedHandler
from kfunc.http.exchange import Exchange
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.otlp import Span
from kfunc.telemetry.requests import RequestRecorder
from kfunc.telemetry.sampling import ratio_sampler

ROOT = Path(__file__).parents[2]


class Answers:
    """A transmitter that keeps what it is given."""

    def __init__(self) -> None:
        self.lines = b""
        self.body = b""
        self.chunks = b""

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        self.lines, self.body = lines, body
        exchange.cancelled = True

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None: ...

    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None:
        self.chunks += chunk

    def send_end(self, exchange: Exchange) -> None: ...
    def reset(self, exchange: Exchange) -> None: ...
    def hold(self, exchange: Exchange, paused: bool) -> None: ...


class Spans:
    """Keeps spans that have ended."""

    def __init__(self) -> None:
        self.all: list[Span] = []

    def add(self, span: Span) -> None:
        self.all.append(span)


class Placed(InMemory):
    """What a fake model says besides its answers."""

    explains = False

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        raise Unsupported("this model does not explain")

    def stuck(self) -> bool:
        return False

    def keep(self, files: LocalFiles) -> None: ...

    def retire(self) -> None: ...

    def close(self) -> None: ...


class Caller:
    """Asks an application as a server does, without one; `tasks` is how many tasks an answer took.

    `traced`: each request is kept as a trace, whose spans are in `spans`.
    """

    def __init__(self, model: Served | None = None, *, traced: bool = False, **changes: Any) -> None:
        metrics = Metrics("handler")
        self.metrics = metrics
        recorder = RequestRecorder(metrics, access_log=False)
        self.application = Application(configuration(**changes), recorder)
        self.spans = Spans()
        sampler = ratio_sampler(1.0, by_parent=False)
        tracing = TracedHandler(self.application, sampler, self.spans, HandlerDetails(), recorder, declares=False)
        self._front = tracing if traced else self.application
        if model is not None:
            self.application.serve(model)
        self.tasks = 0
        self.headers = self.body = self.chunks = b""

    def ask(self, method: str, target: str, body: Any = b"", **headers: str) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(self._ask(method, target, content, headers))

    async def _ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        answers = Answers()
        fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        exchange = Exchange(answers, method.encode(), target.encode(), list(fields.items()), fields, True)
        exchange.body, exchange.complete = body, True
        try:
            self._front.handle(exchange)
        except KfuncError as error:
            exchange.fail(error)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        self.tasks = len(tasks)
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*waiting)
        self._front.observe(exchange)
        self.headers, self.body, self.chunks = answers.lines, answers.body, answers.chunks
        plain = b"octet-stream" not in answers.lines and b"content-encoding" not in answers.lines
        return exchange.status, json.loads(answers.body) if answers.body and plain else None

    def stream(self, *inputs: dict[str, Any]) -> list[Any]:
        """The parts of an answer."""
        self.ask("POST", "/v2/models/iris/infer_stream", {"inputs": list(inputs)})
        return [json.loads(line) for line in self.chunks.splitlines()]

    def infer(self, *inputs: dict[str, Any], **more: Any) -> tuple[int, Any]:
        return self.ask("POST", "/v2/models/iris/infer", {"inputs": list(inputs), **more})


def configuration(uri: str = "", runtime: Any = "onnx", limits: Limits | None = None, **changes: Any) -> PodConfig:
    """A pod's settings; `changes` are of the model or of the function, by the fields' names."""
    model = PodModel(name="iris", uri=uri or str(ROOT / "examples/iris/model.onnx"), runtime=runtime)
    config = PodConfig(
        function="flowers",
        model=model,
        accelerator="cpu",
        timeout_s=20.0,
        hang_timeout_s=20.0,
        grace_s=5.0,
        limits=limits or Limits(),
    )
    own = {name: value for name, value in changes.items() if name in PodModel.__struct_fields__}
    rest = {name: value for name, value in changes.items() if name not in own}
    return msgspec.structs.replace(config, model=msgspec.structs.replace(model, **own), **rest)


@pytest.fixture(params=[False, True], ids=["plain", "traced"])
def caller(request: pytest.FixtureRequest) -> Callable[..., Caller]:
    """Makes callers; what they are answered must not depend on whether requests are traced."""
    return partial(Caller, traced=request.param)


@pytest.fixture
def configured() -> Callable[..., PodConfig]:
    return configuration


def on_stand_ins(file: str, monkeypatch: pytest.MonkeyPatch, **libraries: Any) -> Any:
    """A copy of a module of handlers that imports stand-ins for libraries which are not here."""
    for name, library in libraries.items():
        monkeypatch.setitem(sys.modules, name, library)
    spec = spec_from_file_location("on_stand_ins", ROOT / "kfunc/handlers" / file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
