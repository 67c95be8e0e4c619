"""Log lines about a request have its ids, whoever logs them and wherever the model runs."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.telemetry import log_lines

TRACE, SPAN = "a" * 32, "b" * 16
TENSOR = {"name": "n", "datatype": "INT64", "shape": [1], "data": [3]}
PLAIN = "import logging\ndef predict(n):\n    logging.warning('mine')\n    raise RuntimeError('x')\n"
ASYNC = PLAIN.replace("def predict", "async def predict")
PARTS = PLAIN + "    yield n\n"
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"inputs": [TENSOR]}}
EVENTS = "application/cloudevents-batch+json"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged; the process's own logging is as it was afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    before, root.handlers = root.handlers, []
    log_lines.configure(stream)
    log_lines.use("json")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log_lines.use("text")
    root.handlers = before


@pytest.mark.parametrize(
    ("text", "execution", "path", "body", "kind"),
    [
        (PLAIN, "loop", "infer", {"inputs": [TENSOR]}, "application/json"),
        (PLAIN, "thread", "infer", {"inputs": [TENSOR]}, "application/json"),
        (ASYNC, "auto", "infer", {"inputs": [TENSOR]}, "application/json"),
        (PARTS, "auto", "infer_stream", {"inputs": [TENSOR]}, "application/json"),
        (ASYNC + "    yield n\n", "auto", "infer_stream", {"inputs": [TENSOR]}, "application/json"),
        (PLAIN, "thread", "infer", [EVENT], EVENTS),
    ],
    ids=["loop", "thread", "async", "parts", "async parts", "events"],
)
def test_lines_about_a_request_have_its_ids(
    caller: Callable[..., Any],
    configured: Callable[..., Any],
    tmp_path: Path,
    lines: Callable[[], list[dict[str, Any]]],
    text: str,
    execution: str,
    path: str,
    body: Any,
    kind: str,
) -> None:
    (tmp_path / "handler.py").write_text(text)
    config = configured(str(tmp_path / "handler.py"), "python", execution=execution)
    ids = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "7"}
    caller(LoadedModel(config, load_handler(config))).ask(
        "POST", f"/v2/models/iris/{path}", body, **{"content-type": kind, **ids}
    )
    assert [line["message"] for line in lines()] == ["mine", "the model failed"]
    assert [(line["request_id"], line["trace_id"]) for line in lines()] == [("7", TRACE)] * 2
