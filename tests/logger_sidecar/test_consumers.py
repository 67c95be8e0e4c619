"""What a consumer gets over HTTP, read by the cloudevents SDK: each content mode, kfunc's names and KServe's."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.http_sink import HttpSink
from tests.logger_sidecar.real_brokers import calls, context, settings

pytestmark = pytest.mark.integration


async def received(events: list[CallEvent], **more: Any) -> list[HTTPMessage]:
    """The requests that an endpoint gets."""
    messages: list[HTTPMessage] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
                messages.append(HTTPMessage(headers, await reader.readexactly(int(headers["content-length"]))))
                writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    sink = HttpSink(settings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", **more), context())
    assert await sink.deliver(events, True) == [None] * len(events)
    await sink.close()
    server.close()
    await asyncio.sleep(0.02)
    return messages


def parsed(messages: list[HTTPMessage], mode: str) -> list[Any]:
    if mode == "batched":
        return [JSONFormat().read(None, json.dumps(each)) for message in messages for each in json.loads(message.body)]
    return [from_http_event(message) for message in messages]


@pytest.mark.parametrize("mode", ["structured", "binary", "batched"])
def test_the_sdk_reads_every_event_of_every_mode(mode: str) -> None:
    events = calls(20)
    read = parsed(asyncio.run(received(events, content_mode=mode)), mode)
    assert [event.get_id() for event in read] == [event.id for event in events]
    assert [event.get_data() for event in read[:2]] == [{"instances": [[0]]}, {"predictions": [0]}]
    assert {event.get_source() for event in read} == {"/namespaces/team/functions/iris"}
    assert read[1].get_extension("correlationid") == "call-0"
    assert int(read[1].get_extension("statuscode")) == 200


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_kserves_consumers_find_the_names_that_they_know(mode: str) -> None:
    messages = asyncio.run(received(calls(3, compat="kserve"), content_mode=mode))
    read = parsed(messages, mode)
    assert [event.get_type().rpartition(".")[0] for event in read] == ["org.kubeflow.serving.inference"] * 6
    assert [event.get_id() for event in read[::2]] == [event.get_id() for event in read[1::2]]
    names = ("inferenceservicename", "namespace", "component", "endpoint")
    assert [read[0].get_extension(name) for name in names] == ["iris", "team", "predictor", "default"]
    if mode == "binary":  # a drift detector reads the body as the model got it, and fields as KServe's agent writes them
        assert messages[0].body == b'{"instances":[[0]]}'
        assert {"ce-id", "ce-type", "ce-inferenceservicename", "content-type"} <= set(messages[0].headers)
