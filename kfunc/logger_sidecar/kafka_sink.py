"""Events produced to a topic of Kafka: acknowledged by all in-sync replicas, written once by each life of a producer."""

import asyncio
from collections.abc import Sequence
from typing import Any

from kfunc.config.logger import SinkSettings
from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, SinkContext
from kfunc.logger_sidecar.sink_libraries import quiet, read_address, trust
from kfunc.protocol.cloudevents import CONTENT_TYPE

ACKNOWLEDGED_S = 30.0
CLOSE_S = 2.0
REQUEST_TIMEOUT_MS = 10_000
MAX_REQUEST_BYTES = 32 * 1024 * 1024  # the broker's own bound is what counts

Headers = list[tuple[str, bytes]]


class KafkaSink:
    """One idempotent producer.

    With `order` the key is the source, so that all events of a function are in one partition, in their order; else it
    is the correlation id, so that the two events of a call stay together and calls spread over the partitions.
    """

    max_events = 512
    max_bytes = 4 * 1024 * 1024
    linger_s = 0.0

    def __init__(self, settings: SinkSettings, context: SinkContext) -> None:
        self._address = address = read_address(settings, context)
        self._topic = address.path
        self._binary = settings.content_mode == "binary"
        self._ordered = settings.order != "any"
        self._source = f"{context.namespace}/{context.function}".encode()
        self._environ = context.environ
        self._producer: Any = None
        self._under_way: dict[tuple[str, bool], asyncio.Future[Any]] = {}

    async def open(self) -> None:
        """Connect, and get an id from the brokers that they know repetitions by."""
        from aiokafka import AIOKafkaProducer

        await self.close()
        quiet("aiokafka")
        producer = AIOKafkaProducer(
            bootstrap_servers=self._address.hosts.split(","),
            client_id="kfunc-logger",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_request_size=MAX_REQUEST_BYTES,
            **self._security(),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    def _security(self) -> dict[str, Any]:
        address, environ = self._address, self._environ
        mechanism = address.options.get("sasl")
        user = address.user or environ.get("KAFKA_USERNAME")
        if mechanism is None and user:
            mechanism = "PLAIN"
        options: dict[str, Any] = {
            "security_protocol": f"{'SASL_' if mechanism else ''}{'SSL' if address.secure else 'PLAINTEXT'}"
        }
        if address.secure:
            options["ssl_context"] = trust(environ)
        if mechanism:
            options["sasl_mechanism"] = mechanism
            options["sasl_plain_username"] = user
            options["sasl_plain_password"] = address.password or environ.get("KAFKA_PASSWORD")
        return options

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Produce; None for those that all in-sync replicas have.

        What is not acknowledged in time stays with the producer, and is waited for when it comes again.
        """
        from aiokafka.errors import KafkaError, MessageSizeTooLargeError

        if self._producer is None or any(map(_failed, self._under_way.values())):
            raise ConnectionError("the producer has failed, or was closed")
        futures: list[asyncio.Future[Any] | Refused] = []
        for event in events:
            known = self._under_way.pop((event.id, event.is_response), None)
            try:
                futures.append(known or await self._send(event))
            except MessageSizeTooLargeError as error:
                futures.append(Refused(str(error)))
            except KafkaError as error:
                await self.close()
                return [Retry(f"Kafka: {error or type(error).__name__}", answered=False)]
        waiting = [each for each in futures if isinstance(each, asyncio.Future)]
        if waiting:
            await asyncio.wait(waiting, timeout=ACKNOWLEDGED_S)
        outcomes = [self._outcome(each, event) for each, event in zip(futures, events, strict=True)]
        if any(map(_failed, waiting)):
            # The broker lacks a number that the producer has counted: it would refuse all that follows. A new one counts anew.
            await self.close()
        elif in_order:  # the producer keeps the order of what it has; what comes again must come in order, too
            first = len(_to_first_retry(outcomes))
            for event, future in list(zip(events, futures, strict=True))[first:]:
                if isinstance(future, asyncio.Future):
                    self._under_way[event.id, event.is_response] = future
        return _to_first_retry(outcomes) if in_order else outcomes

    async def _send(self, event: Event) -> "asyncio.Future[Any]":
        headers: Headers
        if self._binary:
            attributes = event.attributes()
            headers, value = binary_headers(attributes), event.data
        else:
            headers, value = [("content-type", CONTENT_TYPE)], event.structured()
        key = self._source if self._ordered else event.key
        future: asyncio.Future[Any] = await self._producer.send(self._topic, value, key=key, headers=headers)
        return future

    def _outcome(self, future: "asyncio.Future[Any] | Refused", event: Event) -> Outcome:
        from aiokafka.errors import MessageSizeTooLargeError

        if isinstance(future, Refused):
            return future
        if not future.done():
            self._under_way[event.id, event.is_response] = future
            return Retry("Kafka did not acknowledge it in time", answered=False)
        error = None if future.cancelled() else future.exception()
        if error is None:
            return Retry("the producer was closed", answered=False) if future.cancelled() else None
        if isinstance(error, MessageSizeTooLargeError):
            return Refused(f"Kafka: {error or 'the message is too large'}")
        return Retry(f"Kafka: {error or type(error).__name__}", answered=False)

    async def close(self) -> None:
        """Leave without waiting for what is not acknowledged: it is known elsewhere."""
        producer, self._producer = self._producer, None
        self._under_way.clear()
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), CLOSE_S)
            except TimeoutError:
                pass


def _failed(future: "asyncio.Future[Any]") -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)


def _to_first_retry(outcomes: list[Outcome]) -> list[Outcome]:
    first = next((number for number, each in enumerate(outcomes) if isinstance(each, Retry)), len(outcomes))
    return outcomes[: first + 1]


def binary_headers(attributes: dict[str, str | int | bool]) -> Headers:
    """An event's attributes as headers in binary mode (Kafka Protocol Binding, 3.2)."""
    headers: Headers = [("ce_specversion", b"1.0")]
    for name, value in attributes.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        headers.append(("content-type" if name == "datacontenttype" else f"ce_{name}", text.encode()))
    return headers
