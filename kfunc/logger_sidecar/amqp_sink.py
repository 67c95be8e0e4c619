"""Events published over AMQP 0-9-1 (RabbitMQ): durable, confirmed by the broker, with their id as message id."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kfunc.config.logger import SinkSettings
from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, SinkContext
from kfunc.logger_sidecar.sink_libraries import quiet, read_address, trust
from kfunc.protocol.cloudevents import CONTENT_TYPE

if TYPE_CHECKING:
    from aio_pika import Message
    from aio_pika.abc import AbstractConnection, AbstractExchange

CONNECT_S = 5.0
CONFIRMED_S = 10.0
NEW_QUEUE_S = 3.0  # RabbitMQ confirms messages at once, and writes a queue's own definition some two seconds later
PORTS = {"amqp": 5672, "amqps": 5671}


class AmqpSink:
    """One connection. `?queue=NAME` makes a durable queue where there is none; an exchange must be there.

    With order one event at a time is under way: the broker may return one and take the next.
    """

    max_events = 256
    max_bytes = 4 * 1024 * 1024
    linger_s = 0.0

    def __init__(self, settings: SinkSettings, context: SinkContext) -> None:
        self._address = address = read_address(settings, context)
        self._routing_key = address.options.get("routing_key") or address.options.get("queue") or f"kfunc.{context.function}"
        self._binary = settings.content_mode == "binary"
        self._environ = context.environ
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._suspects = 0  # events of which one has closed the channel

    async def open(self) -> None:
        """Connect, and see that queue or exchange are there."""
        import aio_pika

        await self.close()
        quiet("aio_pika", "aiormq")
        address, environ = self._address, self._environ
        host, _, port = address.hosts.rpartition(":")
        self._connection = connection = await aio_pika.connect(
            host=host or address.hosts,
            port=int(port) if host else PORTS[address.scheme],
            login=address.user or environ.get("AMQP_USERNAME", "guest"),
            password=address.password or environ.get("AMQP_PASSWORD", "guest"),
            virtualhost=address.path,
            ssl=address.secure,
            ssl_context=trust(environ) if address.secure else None,
            timeout=CONNECT_S,
        )
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        if "exchange" in address.options:
            self._exchange = await channel.get_exchange(address.options["exchange"])
        else:
            await _find_queue(connection, address.options["queue"])
            self._exchange = channel.default_exchange

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Publish; None for those that the broker has confirmed."""
        exchange = self._exchange
        if exchange is None or self._connection is None or self._connection.is_closed:
            raise ConnectionError("the connection to the broker, or its channel, was closed")
        if in_order or self._suspects > 0:
            return await self._publish_singly(exchange, events)
        every = list(await asyncio.gather(*[self._publish(exchange, event) for event in events]))
        if len(every) == 1 or not any(isinstance(each, Refused) for each in every):
            return every
        # The broker has closed the channel for one of them: which one is seen when each goes alone.
        self._suspects = sum(each is not None for each in every)
        return [each and Retry("AMQP: the broker has closed the channel", answered=False) for each in every]

    async def _publish_singly(self, exchange: "AbstractExchange", events: Sequence[Event]) -> list[Outcome]:
        """One after the other, as far as the first that the broker has not confirmed."""
        outcomes: list[Outcome] = []
        for event in events:
            outcomes.append(await self._publish(exchange, event))
            self._suspects -= 1
            if outcomes[-1] is not None:
                break
        return outcomes

    async def _publish(self, exchange: "AbstractExchange", event: Event) -> Outcome:
        from aiormq.exceptions import AMQPError, ChannelPreconditionFailed, DeliveryError, PublishError

        try:
            await exchange.publish(self._message(event), self._routing_key, mandatory=True, timeout=CONFIRMED_S)
        except PublishError:
            return Retry(f"no queue takes the routing key {self._routing_key}: bind one", answered=False)
        except DeliveryError:
            return Retry("the broker did not accept it (nack)")
        except ChannelPreconditionFailed as error:
            self._exchange = None
            return Refused(f"AMQP: {error or 'the message is too large'}")
        except (AMQPError, OSError, RuntimeError, TimeoutError) as error:
            self._exchange = None  # the channel may be what is broken
            return Retry(f"AMQP: {error or type(error).__name__}", answered=False)
        return None

    def _message(self, event: Event) -> "Message":
        from aio_pika import DeliveryMode, Message

        common: dict[str, Any] = {"delivery_mode": DeliveryMode.PERSISTENT, "message_id": event.id, "app_id": "kfunc"}
        common["correlation_id"] = event.key.decode("latin-1")[:120]
        if not self._binary:
            return Message(event.structured(), content_type=CONTENT_TYPE.decode(), **common)
        attributes = event.attributes()
        content_type = str(attributes.get("datacontenttype", ""))
        return Message(event.data, content_type=content_type, headers=binary_headers(attributes), **common)

    async def close(self) -> None:
        """Leave; what is not confirmed is known elsewhere."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None and not connection.is_closed:
            await connection.close()


async def _find_queue(connection: "AbstractConnection", name: str) -> None:
    """See that the queue is there; a new one is made, and left alone until a killed broker would still know it."""
    from aiormq.exceptions import ChannelNotFoundEntity

    channel = await connection.channel()
    try:
        await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        channel = await connection.channel()  # the refusal has closed the first one
        await channel.declare_queue(name, durable=True)
        await asyncio.sleep(NEW_QUEUE_S)
    await channel.close()


def binary_headers(attributes: dict[str, str | int | bool]) -> dict[str, Any]:
    """An event's attributes as headers in binary mode: AMQP 0-9-1 has Knative's RabbitMQ binding (its part 3.1)."""
    headers: dict[str, Any] = {"ce-specversion": "1.0"}
    for name, value in attributes.items():
        if name != "datacontenttype":
            headers[f"ce-{name}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return headers
