"""Events POSTed to an HTTP endpoint such as a Knative broker: one by one, or many at once where it takes batches.

In order there is one request under way at a time. Else many go out in one write, over several connections.
"""

import asyncio
from collections.abc import Sequence
from time import time
from urllib.parse import urlsplit

from msgspec import UNSET

from kfunc.config.logger import SinkSettings
from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, SinkContext
from kfunc.logger_sidecar.posting import Answer, PostConnection
from kfunc.logger_sidecar.sink_binding import Token
from kfunc.logger_sidecar.sink_libraries import read_address, trust
from kfunc.protocol.cloudevents import BATCH_CONTENT_TYPE, CONTENT_TYPE, header_fields

MAX_BATCH = 128
MAX_BATCH_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 5.0
POST_TIMEOUT_S = 10.0
# Knative's delivery rules: these may succeed later, as all 5xx; every other 4xx never.
RETRIED = frozenset((404, 408, 409, 429))
UNAUTHORIZED = 401
PASSED_ON = ("traceparent", "baggage")  # in binary mode as header fields of their own, too
LOST = Retry("no answer", answered=False)


class HttpSink:
    """POSTs events over kept connections. Each event has an id of its own, by which one that is sent twice is known."""

    max_events = 256
    max_bytes = 1024 * 1024
    linger_s = 0.0

    def __init__(self, settings: SinkSettings, context: SinkContext) -> None:
        address = read_address(settings, context)
        url = _broker_url(settings.to, context.namespace) if address.scheme == "broker" else settings.to
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._tls = trust(context.environ) if secure else None
        self._mode = settings.content_mode
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        self._start = f"POST {path} HTTP/1.1\r\nhost: {host}\r\n".encode()
        is_bound = url.rstrip("/") == context.environ.get("K_SINK", "").rstrip("/")
        self._token = Token("" if settings.token_file is UNSET else settings.token_file, is_bound=is_bound)
        count = settings.connections if isinstance(settings.connections, int) else 1
        self._connections: list[PostConnection | None] = [None] * count
        self._unreachable = Retry("no connection", answered=False)
        self._window = self.max_events  # requests in one write: fewer for a server that closes in between

    async def open(self) -> None:
        """Connections are made when they are needed."""

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """POST all, but in order only as far as the first that is to be tried again."""
        posts = _batches(events) if self._mode == "batched" else [[event] for event in events]
        if not in_order:
            return await self._deliver_all(posts)
        outcomes: list[Outcome] = []
        for post in posts:
            outcomes += (await self._deliver_all([post])) if len(post) == 1 else await self._deliver_batch(post)
            if isinstance(outcomes[-1], Retry):
                break
        return outcomes

    async def _deliver_all(self, posts: list[list[Event]]) -> list[Outcome]:
        """The outcomes of all events, sent at once."""
        answers = await self._post([self._request(post) for post in posts])
        outcomes: list[Outcome] = []
        for post, answer in zip(posts, answers, strict=True):
            outcome = self._outcome(answer)
            if isinstance(outcome, Refused) and len(post) > 1:
                outcomes += await self._deliver_all([[event] for event in post])
            else:
                outcomes += [outcome] * len(post)
        return outcomes

    async def _deliver_batch(self, post: Sequence[Event]) -> list[Outcome]:
        """The outcomes of a batch in order: one that is refused may be so for one of its events, which is found."""
        (answer,) = await self._post([self._request(post)])
        outcome = self._outcome(answer)
        if isinstance(outcome, Refused):
            return await self._deliver_singly(post)
        return [outcome] if isinstance(outcome, Retry) else [None] * len(post)

    async def _deliver_singly(self, events: Sequence[Event]) -> list[Outcome]:
        """Each event in a request of its own, in order."""
        outcomes: list[Outcome] = []
        for event in events:
            outcomes += await self._deliver_all([[event]])
            if isinstance(outcomes[-1], Retry):
                break
        return outcomes

    def _outcome(self, answer: Answer | Retry) -> Outcome:
        outcome = outcome_of(answer)
        if isinstance(outcome, Refused) and outcome.code == UNAUTHORIZED and self._token.line():
            return Retry("HTTP 401: the sink does not take the token; it is read again when it is renewed", answered=False)
        return outcome

    def _request(self, post: Sequence[Event]) -> bytes:
        if self._mode == "binary":
            return self._binary_request(post[0])
        if self._mode == "batched" and len(post) > 1:
            kind, body = BATCH_CONTENT_TYPE, b"[%b]" % b",".join([event.structured() for event in post])
        else:
            kind, body = CONTENT_TYPE, post[0].structured()
        head = (self._start, self._token.line(), kind, len(body))
        return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (*head, body)

    def _binary_request(self, event: Event) -> bytes:
        """Attributes are header fields, the body is the data as it is (HTTP Protocol Binding, 3.1)."""
        attributes, body = event.attributes(), event.data
        fields = header_fields(attributes)
        kind = str(attributes["datacontenttype"]).encode("latin-1", "replace")
        fields += [(b"content-type", kind if kind.isascii() and kind.decode().isprintable() else b"application/octet-stream")]
        for name in PASSED_ON:
            value = str(attributes.get(name, ""))
            if value and value.isascii() and value.isprintable():
                fields += [(name.encode(), value.encode())]
        lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        head = (self._start, self._token.line(), lines, len(body))
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (*head, body)

    # ---- connections

    async def _post(self, requests: list[bytes]) -> list[Answer | Retry]:
        width = min(len(self._connections), len(requests))
        if width <= 1:
            return await self._post_over(0, requests)
        shares = await asyncio.gather(*[self._post_over(slot, requests[slot::width]) for slot in range(width)])
        return [shares[number % width][number // width] for number in range(len(requests))]

    async def _post_over(self, slot: int, requests: list[bytes]) -> list[Answer | Retry]:
        answers: list[Answer | Retry] = []
        failure = None
        while len(answers) < len(requests):
            connection = self._connections[slot]
            kept = connection is not None and connection.open
            if connection is None or not kept:
                connection = self._connections[slot] = await self._connect()
                if connection is None:
                    break
            failure = LOST
            sent = requests[len(answers) : len(answers) + self._window]
            answered = await connection.post(sent, POST_TIMEOUT_S)
            answers += answered
            if len(answered) == len(sent):
                self._window = min(2 * self._window, self.max_events)
            elif answered:
                self._window = len(answered)
            elif not kept:  # one that was kept may have been closed by the other side just now
                break
        return answers + [failure or self._unreachable] * (len(requests) - len(answers))

    async def _connect(self) -> PostConnection | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(PostConnection, self._host, self._port, ssl=self._tls)
        except (OSError, UnicodeError) as error:  # UnicodeError: its host is no name
            self._unreachable = Retry(f"no connection: {_reason(error)}", answered=False)
            return None
        return connection

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            if connection is not None:
                connection.close()


def _broker_url(sink: str, namespace: str) -> str:
    from kfunc.config.brokers import broker_url  # here: few sinks are named so in the pod

    return broker_url(sink, namespace)


def _reason(error: OSError | UnicodeError) -> str:
    """Why there is no connection; a certificate that is not trusted says so."""
    if isinstance(error, UnicodeError):
        return f"the host is no name ({error})"
    return getattr(error, "verify_message", "") or error.strerror or type(error).__name__


def outcome_of(answer: Answer | Retry) -> Outcome:
    """What an answer means by Knative's delivery rules."""
    if isinstance(answer, Retry):
        return answer
    if 200 <= answer.status < 300:
        return None
    if answer.status >= 500 or answer.status in RETRIED:
        return Retry(f"HTTP {answer.status}", retry_after_s(answer.retry_after, time()), code=answer.status)
    return Refused(f"HTTP {answer.status}", answer.status)


def retry_after_s(value: bytes, now: float) -> float:
    """The seconds that Retry-After asks for (RFC 9110, 10.2.3); 0 where it is absent or not readable."""
    if not value:
        return 0.0
    if value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime  # here: few sinks send a date, and it costs a start 10 ms

    try:
        return max(0.0, parsedate_to_datetime(value.decode("latin-1")).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _batches(events: Sequence[Event]) -> list[list[Event]]:
    """Events in their order, in batches of bounded count and size."""
    batches: list[list[Event]] = []
    room = 0
    for event in events:
        size = len(event.data) + 512
        if not batches or room < size or len(batches[-1]) >= MAX_BATCH:
            batches.append([])
            room = MAX_BATCH_BYTES
        batches[-1].append(event)
        room -= size
    return batches
