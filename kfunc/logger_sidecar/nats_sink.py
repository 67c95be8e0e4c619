"""Events published to NATS JetStream: each is acknowledged when the stream has it, and known again by its id."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kfunc.config.logger import SinkSettings
from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, SinkContext
from kfunc.logger_sidecar.sink_libraries import quiet, read_address, trust
from kfunc.protocol.cloudevents import CONTENT_TYPE, header_fields

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

CONNECT_S = 5.0
ACKNOWLEDGED_S = 10.0
# Codes of JetStream's errors (ADR-1): the event is at fault, and not the stream.
TOO_LARGE = 10_054


class NatsSink:
    """One connection to NATS; the subject is to belong to a stream, or `?stream=NAME` makes one for it.

    With order one event at a time is under way: JetStream may refuse one and take the next.
    """

    max_events = 512
    max_bytes = 4 * 1024 * 1024
    linger_s = 0.0

    def __init__(self, settings: SinkSettings, context: SinkContext) -> None:
        self._address = address = read_address(settings, context)
        self._subject = address.path
        self._stream = address.options.get("stream", "")
        self._binary = settings.content_mode == "binary"
        self._environ = context.environ
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._lost: asyncio.Future[None]

    async def open(self) -> None:
        """Connect, and make the stream where the address names one that is not there."""
        import nats
        from nats.errors import NoServersError
        from nats.js.errors import NotFoundError

        await self.close()
        quiet("nats")
        environ, address = self._environ, self._address
        self._lost = lost = asyncio.get_running_loop().create_future()

        async def on_loss() -> None:
            if not lost.done():
                lost.set_result(None)

        try:
            async with asyncio.timeout(CONNECT_S):
                self._client = client = await nats.connect(
                    [f"nats://{host}" for host in address.hosts.split(",")],
                    name="kfunc-logger",
                    allow_reconnect=False,  # what was under way is to be sent again by whoever knows of it
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(CONNECT_S),
                    error_cb=_ignore,
                    disconnected_cb=on_loss,
                    closed_cb=on_loss,
                    tls=trust(environ) if address.secure else None,
                    user=address.user or environ.get("NATS_USER"),
                    password=address.password or environ.get("NATS_PASSWORD"),
                    token=environ.get("NATS_TOKEN"),
                    user_credentials=environ.get("NATS_CREDS"),
                )
        except (TimeoutError, NoServersError):
            raise ConnectionError(f"NATS at {address.hosts} cannot be reached") from None
        self._jetstream = jetstream = client.jetstream(timeout=CONNECT_S)
        if self._stream:
            try:
                await jetstream.stream_info(self._stream)
            except NotFoundError:
                await jetstream.add_stream(name=self._stream, subjects=[self._subject])

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Publish; None for those that the stream has acknowledged."""
        jetstream = self._jetstream
        if jetstream is None or self._client is None or not self._client.is_connected:
            raise ConnectionError("the connection to NATS was closed")
        if in_order:
            outcomes: list[Outcome] = []
            for event in events:
                outcome = (await self._publish(jetstream, [event]))[0]
                outcomes.append(outcome)
                if isinstance(outcome, Retry):
                    break
            return outcomes
        return await self._publish(jetstream, events)

    async def _publish(self, jetstream: "JetStreamContext", events: Sequence[Event]) -> list[Outcome]:
        from nats.errors import Error

        most = self._client.max_payload if self._client is not None else 0
        futures: list[asyncio.Future[Any] | Refused | Retry] = []
        for event in events:
            headers = {"Nats-Msg-Id": message_id(event)}
            if self._binary:
                attributes = event.attributes()
                headers |= {name.decode(): value.decode() for name, value in header_fields(attributes)}
                headers["content-type"] = str(attributes.get("datacontenttype", ""))
                payload = event.data
            else:
                headers["content-type"] = CONTENT_TYPE.decode()
                payload = event.structured()
            size = len(payload) + header_bytes(headers)
            if size > most:  # the server would close the connection, for the header's share as well
                futures.append(Refused(f"{size} bytes are more than the server's max_payload, {most}"))
                continue
            try:
                futures.append(await jetstream.publish_async(self._subject, payload, headers=headers))
            except Error as error:
                futures.append(Retry(f"NATS: {error}", answered=False))
        waiting = [each for each in futures if isinstance(each, asyncio.Future)]
        if waiting:
            every = asyncio.gather(*waiting, return_exceptions=True)
            await asyncio.wait((every, self._lost), timeout=ACKNOWLEDGED_S, return_when=asyncio.FIRST_COMPLETED)
            every.add_done_callback(_forget)
            every.cancel()
        return [each if isinstance(each, Refused | Retry) else _outcome(each, self._subject) for each in futures]

    async def close(self) -> None:
        """Leave; nothing waits here that is not known elsewhere."""
        client, self._client, self._jetstream = self._client, None, None
        if client is not None and not client.is_closed:
            await client.close()


def header_bytes(headers: dict[str, str]) -> int:
    """What a message's headers take of `max_payload` (NATS client protocol, HPUB)."""
    return len("NATS/1.0\r\n\r\n") + sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())


def message_id(event: Event) -> str:
    """What JetStream knows an event by; both events of a call have one id in KServe's names."""
    return f"{event.id}-{'response' if event.is_response else 'request'}"


def _outcome(future: "asyncio.Future[Any]", subject: str) -> Outcome:
    from nats.js.errors import APIError, NoStreamResponseError

    if future.cancelled() or not future.done():
        return Retry("NATS did not acknowledge it: the connection was lost, or it takes too long", answered=False)
    error = future.exception()
    if error is None:
        return None
    if isinstance(error, NoStreamResponseError):
        return Retry(f"no stream takes the subject {subject}: make one, or name it with ?stream=NAME", answered=False)
    if isinstance(error, APIError):
        if error.err_code == TOO_LARGE:
            return Refused(str(error.description), error.code or 0)
        return Retry(f"JetStream: {error.description}", answered=False)
    return Retry(f"NATS: {error}", answered=False)


def _forget(every: "asyncio.Future[Any]") -> None:
    """What each of them came to is looked at one by one."""
    if not every.cancelled():
        every.exception()


async def _ignore(error: Exception) -> None:
    """Whoever delivers sees it and says it."""
