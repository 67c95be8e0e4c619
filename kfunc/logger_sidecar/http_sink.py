"""Events POSTed to an HTTP endpoint such as a Knative broker: structured, or many at once where it takes batches.

Requests are pipelined: many go out in one write, and the answers come back in order (RFC 9112, 9.3.2). Each
event has an id of its own, so that one that is sent twice, after a lost connection, is known as the same.
"""

import asyncio
import logging
from urllib.parse import urlsplit

from kfunc.config.logger import Logger
from kfunc.errors import StartupError
from kfunc.logger_sidecar.posting import PostConnection
from kfunc.protocol.cloudevents import BATCH_CONTENT_TYPE, CONTENT_TYPE

log = logging.getLogger("kfunc.logger")

MAX_BATCH = 128
MAX_BATCH_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 5.0
POST_TIMEOUT_S = 10.0
NO_ANSWER = 0
# Knative's delivery rules: these may succeed later, every other 4xx never.
RETRIED = frozenset((NO_ANSWER, 404, 408, 409, 429))


class HttpSink:
    """POSTs events over `logger.connections` kept connections: over one they arrive in order.

    An event that is answered with a code to retry is sent again before all that were not sent yet, so it can be
    overtaken by those that went out together with it, at most `batch_size`.
    """

    batch_size = 256

    def __init__(self, url: str, settings: Logger) -> None:
        self.refused = 0
        parts = urlsplit(url)
        try:
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise StartupError(f"the sink {url!r} has a port that is not a number up to 65535") from None
        if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
            raise StartupError(f"the sink {url!r} is not a URL: it needs a host, and %-escapes for what is not ASCII")
        self._host = parts.hostname
        self._secure = parts.scheme == "https"
        self._batched = settings.content_mode == "batched"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: %b\r\n" % (
            path.encode(),
            parts.netloc.rpartition("@")[2].encode(),
            BATCH_CONTENT_TYPE if self._batched else CONTENT_TYPE,
        )
        self._max_tries = (settings.max_retries or 100) + 1
        self._tries: dict[bytes, int] = {}
        self._connections: list[PostConnection | None] = [None] * settings.connections
        self._window = self.batch_size  # requests in one write: fewer for a server that closes in between

    async def deliver(self, events: list[bytes]) -> list[bytes]:
        """POST all; returns those that were answered with a code to retry, or not at all."""
        posts = _batches(events) if self._batched else [[event] for event in events]
        statuses = await self._post(posts)
        broken = [number for number, status in enumerate(statuses) if len(posts[number]) > 1 and _is_refusal(status)]
        if broken:  # only the event that is wrong is to be dropped
            single = [[event] for number in broken for event in posts[number]]
            kept = [number for number in range(len(posts)) if number not in broken]
            posts, statuses = (
                [posts[number] for number in kept] + single,
                [statuses[number] for number in kept] + await self._post(single),
            )
        refused = [status for status in statuses if _is_refusal(status)]
        if refused:
            self.refused += len(refused)
            log.warning("the sink refused %d events with status %d: they are dropped", len(refused), refused[-1])
        failed = {
            event: status
            for post, status in zip(posts, statuses, strict=True)
            if status >= 500 or status in RETRIED
            for event in post
        }
        if failed or self._tries:
            self._give_up(failed)
        return [event for event in events if event in failed]

    def _give_up(self, failed: dict[bytes, int]) -> None:
        """Take out of `failed` what was tried too often.

        No answer counts for the first event only, which may be the reason, if a connection was made.
        """
        tries, self._tries = self._tries, {}
        hopeless = []
        for event, status in failed.items():
            first = status == NO_ANSWER and not self._tries and any(self._connections)
            count = tries.get(event, 0) + (status != NO_ANSWER or first)
            if count >= self._max_tries:
                hopeless.append(event)
            elif count:
                self._tries[event] = count
        if hopeless:
            self.refused += len(hopeless)
            log.warning(
                "%d events are dropped after %d tries each (logger.max_retries): the sink answered %s",
                *(len(hopeless), self._max_tries, failed[hopeless[-1]] or "nothing"),
            )
        for event in hopeless:
            del failed[event]

    async def _post(self, posts: list[list[bytes]]) -> list[int]:
        """The status of each answer, 0 for none."""
        bodies = [b"[%b]" % b",".join(post) for post in posts] if self._batched else [post[0] for post in posts]
        requests = [b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body) for body in bodies]
        width = min(len(self._connections), len(requests))
        if width <= 1:
            return await self._post_over(0, requests)
        shares = await asyncio.gather(*[self._post_over(slot, requests[slot::width]) for slot in range(width)])
        return [shares[number % width][number // width] for number in range(len(requests))]

    async def _post_over(self, slot: int, requests: list[bytes]) -> list[int]:
        statuses: list[int] = []
        while len(statuses) < len(requests):
            connection = self._connections[slot]
            kept = connection is not None and connection.open
            if connection is None or not kept:
                connection = self._connections[slot] = await self._connect()
                if connection is None:
                    break
            sent = requests[len(statuses) : len(statuses) + self._window]
            answered = await connection.post(sent, POST_TIMEOUT_S)
            statuses += answered
            if len(answered) == len(sent):
                self._window = min(2 * self._window, self.batch_size)
            elif answered:
                self._window = len(answered)
            elif not kept:  # one that was kept may have been closed by the other side just now
                break
        return statuses + [NO_ANSWER] * (len(requests) - len(statuses))

    async def _connect(self) -> PostConnection | None:
        context = None
        if self._secure:
            import ssl

            context = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(PostConnection, self._host, self._port, ssl=context)
        except (OSError, TimeoutError):
            return None
        return connection

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            if connection is not None:
                connection.close()


def _is_refusal(status: int) -> bool:
    return 300 <= status < 500 and status not in RETRIED


def _batches(events: list[bytes]) -> list[list[bytes]]:
    """Events in their order, in batches of bounded count and size."""
    batches: list[list[bytes]] = []
    room = 0
    for event in events:
        if not batches or room < len(event) or len(batches[-1]) >= MAX_BATCH:
            batches.append([])
            room = MAX_BATCH_BYTES
        batches[-1].append(event)
        room -= len(event)
    return batches
