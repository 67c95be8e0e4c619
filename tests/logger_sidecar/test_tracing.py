"""Spans of deliveries: one for each event when it is settled, however often it was tried."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kfunc.logger_sidecar.record import encode_record
from kfunc.telemetry.otlp import Span
from tests.logger_sidecar.broker import Broker, Fault
from tests.logger_sidecar.setups import call, running

pytestmark = pytest.mark.integration
TRACE, SPAN = b"a" * 32, b"b" * 16


class Spans:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.all: list[Span] = []

    def add(self, span: Span) -> None:
        self.all.append(span)


@pytest.mark.parametrize(
    ("settings", "ends", "errors"),
    [({}, ("delivered", 3), [None] * 3), ({"max_retries": 2}, ("refused", 1), ["HTTP 500", None, None])],
)
def test_an_event_has_a_span_when_it_is_settled_and_none_for_each_try(
    tmp_path: Path, settings: dict[str, Any], ends: tuple[str, int], errors: list[str | None]
) -> None:
    spans = Spans()

    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url, **settings) as setup:
            setup.pipeline.trace(spans)
            broker.fault = Fault("500", times=3)
            for number in range(3):
                record = call(number)
                record.traceparent = b"00-%b-%b-01" % (TRACE, SPAN)
                setup.spool.append(encode_record(record), lambda: None)
            await setup.reaches(*ends)
            await setup.reaches("delivered", errors.count(None))

    asyncio.run(main())
    assert [(span.trace_id, span.parent_id, span.error and span.error[:8]) for span in spans.all] == [
        (TRACE, SPAN, error) for error in errors
    ]
