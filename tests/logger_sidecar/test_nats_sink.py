"""Events in a real NATS with JetStream: acknowledged, known again by their ids, none lost when it is killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from kfunc.logger_sidecar.contract import Refused, Retry
from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.nats_sink import NatsSink
from tests.logger_sidecar.real_brokers import calls, certificate, context, deliver_all, killed_now_and_then, settings
from tests.parts.servers import Nats

pytestmark = pytest.mark.integration
__all__ = ["certificate"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    with Nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


async def read(server: Nats, stream: str) -> list[Any]:
    """All messages of a stream."""
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    last = (await jetstream.stream_info(stream)).state.last_seq
    messages = [await jetstream.get_msg(stream, number) for number in range(1, last + 1)]
    await client.close()
    return messages


def parsed(message: Any) -> Any:
    """The event, as the cloudevents SDK reads it."""
    headers = {name: value for name, value in message.headers.items() if name.lower() != "nats-msg-id"}
    return from_http_event(HTTPMessage(headers=headers, body=message.data))


async def deliver(url: str, events: list[CallEvent], *, in_order: bool = True, **more: Any) -> None:
    sink = NatsSink(settings(url, **more), context())
    await deliver_all(sink, events, in_order=in_order)
    await sink.close()


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("in_order", [True, False])
def test_every_event_is_in_the_stream_as_the_sdk_reads_it(server: Nats, mode: str, in_order: bool) -> None:
    name = f"{mode}-{in_order}"
    events = calls(50)
    asyncio.run(deliver(f"{server.url}/a.{name}?stream={name}", events, in_order=in_order, content_mode=mode))
    messages = asyncio.run(read(server, name))
    assert [parsed(message).get_id() for message in messages] == [event.id for event in events]
    first = parsed(messages[0])
    assert (first.get_type(), first.get_extension("model")) == ("io.kfunc.inference.request", "iris")
    assert first.get_data() == {"instances": [[0]]}


def test_an_event_that_is_sent_twice_is_in_the_stream_once(server: Nats) -> None:
    url = f"{server.url}/twice?stream=twice"
    asyncio.run(deliver(url, calls(10)))
    asyncio.run(deliver(url, calls(10)))
    assert len(asyncio.run(read(server, "twice"))) == 20


def test_both_events_of_a_call_arrive_under_kserves_names_which_give_them_one_id(server: Nats) -> None:
    asyncio.run(deliver(f"{server.url}/kserve?stream=kserve", calls(3, compat="kserve"), content_mode="binary"))
    events = [parsed(message) for message in asyncio.run(read(server, "kserve"))]
    assert len(events) == 6
    assert len({event.get_id() for event in events}) == 3
    assert {event.get_type() for event in events} == {
        "org.kubeflow.serving.inference.request",
        "org.kubeflow.serving.inference.response",
    }


@pytest.mark.parametrize("in_order", [True, False])
def test_none_is_lost_and_none_is_there_twice_when_the_server_is_killed(tmp_path: Path, in_order: bool) -> None:
    with Nats(tmp_path / "nats") as server:
        events = calls(1500)
        with killed_now_and_then(server, times=3):
            asyncio.run(deliver(f"{server.url}/x?stream=x", events, in_order=in_order))
        ids = [parsed(message).get_id() for message in asyncio.run(read(server, "x"))]
    assert sorted(set(ids)) == sorted(event.id for event in events)
    assert len(ids) == len(set(ids))
    if in_order:
        assert ids == [event.id for event in events]


def test_a_subject_of_no_stream_is_told_with_what_to_do_and_tried_again(server: Nats) -> None:
    async def main() -> Any:
        sink = NatsSink(settings(f"{server.url}/nobody"), context())
        await sink.open()
        outcomes = await sink.deliver(calls(2), True)
        await sink.close()
        return outcomes

    (outcome,) = asyncio.run(main())
    assert isinstance(outcome, Retry)
    assert not outcome.answered
    assert "make one, or name it with ?stream=NAME" in outcome.reason


@pytest.mark.parametrize("size", [2_000_000, 1024 * 1024 - 50], ids=["body", "body and headers"])
def test_an_event_larger_than_the_server_takes_is_refused_and_the_next_one_taken(server: Nats, size: int) -> None:
    async def main() -> Any:
        sink = NatsSink(settings(f"{server.url}/large?stream=large", content_mode="binary"), context())
        await sink.open()
        outcomes = await sink.deliver([*calls(1, body=b"x" * size)[:1], *calls(1, first=1)], True)
        await sink.close()
        return outcomes

    outcomes = asyncio.run(main())
    assert isinstance(outcomes[0], Refused)
    assert outcomes[1:] == [None, None]


def test_a_server_with_tls_and_a_login_is_reached_with_the_environments_certificates_and_password(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    files = ("--tls", f"--tlscert={certificate[0]}", f"--tlskey={certificate[1]}")
    with Nats(tmp_path / "nats", *files, "--user", "me", "--pass", "secret") as server:
        to = settings(f"{server.url}/x?stream=x&tls=true")
        login = {"NATS_USER": "me", "NATS_PASSWORD": "secret"}

        async def main(environ: dict[str, str]) -> Any:
            sink = NatsSink(to, context(**environ))
            try:
                await sink.open()
                return await sink.deliver(calls(1), True)
            finally:
                await sink.close()

        trusted = {"K_CA_CERTS": certificate[0].read_text()}
        assert asyncio.run(main(trusted | login)) == [None, None]
        for lacking in (login, trusted):
            with pytest.raises(Exception, match=r"CERTIFICATE_VERIFY_FAILED|cannot be reached|Authorization"):
                asyncio.run(main(lacking))


def test_a_server_that_is_not_there_is_told_by_its_address() -> None:
    async def main() -> None:
        await NatsSink(settings("nats://127.0.0.1:1/x"), context()).open()

    with pytest.raises(ConnectionError, match=r"NATS at 127.0.0.1:1 cannot be reached"):
        asyncio.run(main())
