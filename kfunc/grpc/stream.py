"""A call with a stream of messages: each is answered when those before it are."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from kfunc.errors import DeadlineExceeded, InvalidRequest, KfuncError, Unavailable
from kfunc.grpc.call import OPENING_LINES, RECORDED, given_coding
from kfunc.http.exchange import Exchange
from kfunc.protocol.grpc.framing import Deframer, Message, frame
from kfunc.protocol.grpc.status import GOOD, decode_timeout, failure

if TYPE_CHECKING:
    from kfunc.grpc.front import GrpcFront

MOST_WAITING = 16  # messages of a client that sends faster than it is answered


class StreamCall:
    """A Receiver of the client's messages. Subclasses take one at a time, and say when they are done with it."""

    def __init__(self, front: "GrpcFront", outer: Exchange) -> None:
        self.front = front
        self.outer = outer
        self.paused = False  # the client takes no more just now
        self._deframer = Deframer(front.limits.max_body_bytes)
        self._waiting: deque[Message] = deque()
        self._busy = self._turning = self._complete = self._held = False
        self._timer: asyncio.TimerHandle | None = None
        outer.note = self
        outer.on_cancel = self.on_cancel
        outer.on_pressure = self.on_pressure

    def begin(self) -> None:
        """Take up the call. Raises KfuncError."""
        timeout = self.outer.headers.get(b"grpc-timeout")
        seconds = None if timeout is None else decode_timeout(timeout)
        self.front.streams.add(self)
        self.outer.start(200, OPENING_LINES)
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self.outer.deadline = loop.time() + seconds
            self._timer = loop.call_later(seconds, self._expire)
        self.outer.receive(self)

    # ---- the client's messages

    def on_chunk(self, chunk: bytes) -> None:
        """The next bytes of the client's stream."""
        if self.outer.on_cancel is None:
            return
        try:
            self._waiting += self._deframer.feed(chunk)
        except KfuncError as error:
            self._refuse(error)
            return
        self._turn()

    def on_end(self) -> None:
        """The client has said all."""
        if not self._deframer.between:
            self._refuse(InvalidRequest("the call's last message is cut off"))
            return
        self._complete = True
        self._turn()

    def done(self) -> None:
        """The message that was taken is answered."""
        self._busy = False
        self._turn()

    def _turn(self) -> None:
        """Go on with the next message, unless one is being answered."""
        if self._turning:
            return
        self._turning = True
        while self._waiting and not self._busy and self.outer.on_cancel is not None:
            self._busy = True
            compressed, message = self._waiting.popleft()
            if compressed:
                self._inflate(message)
            else:
                self._taken(message)
        self._turning = False
        if self._complete and not self._busy and not self._waiting:
            self.end()
        elif self._held != (len(self._waiting) > MOST_WAITING):
            self._held = not self._held
            self.outer.hold(self._held)

    def _taken(self, message: bytes) -> None:
        try:
            self.take(message)
        except KfuncError as error:
            self._refuse(error)
        except Exception:
            self._refuse(self.front.broken(self.outer))

    def _refuse(self, error: KfuncError) -> None:
        """End the call with a message that nothing was asked for."""
        self.front.refuse(self.outer, error)
        self.end(error)

    def _inflate(self, message: bytes) -> None:
        try:
            coding = given_coding(self.outer)
        except KfuncError as error:
            self._refuse(error)
            return
        self.front.spawn(self._inflate_later(message, coding))

    async def _inflate_later(self, message: bytes, coding: bytes) -> None:
        from kfunc.http.coding import inflate

        loop, limit = asyncio.get_running_loop(), self.front.limits.max_body_bytes
        try:
            message = await loop.run_in_executor(None, inflate, message, coding, limit)
        except KfuncError as error:
            self._refuse(error)
        else:
            self._taken(message)

    def take(self, message: bytes) -> None:
        """Answer a message; `done` must follow. Raises KfuncError, which ends the call."""
        raise TypeError("a method takes its messages")

    # ---- what the client gets

    def write(self, message: bytes) -> None:
        """Send a message."""
        if self.outer.on_cancel is not None:
            self.outer.write(frame(message))

    def end(self, error: KfuncError | None = None) -> None:
        """The call is over."""
        if self._close():
            self.outer.trailers = GOOD if error is None else failure(error)
            self.outer.finish()

    def on_pressure(self, paused: bool) -> None:
        """The client is slower than the answers, or takes more again."""
        self.paused = paused

    # ---- other ends

    def tick(self, *, draining: bool) -> None:
        """Some time has passed; an idle call ends when the server does."""
        if draining and not self._busy and not self._waiting:
            self.end(Unavailable("the server is shutting down"))

    def stop(self) -> None:
        """Nobody needs the answers any more."""

    def _expire(self) -> None:
        self.stop()
        self.end(DeadlineExceeded("the call's deadline has passed (grpc-timeout)"))

    def on_cancel(self) -> None:
        """The client is gone."""
        self.stop()
        self._close()

    def _close(self) -> bool:
        if self.outer.on_cancel is None:
            return False
        self.outer.on_cancel = self.outer.on_pressure = self.outer.receiver = None
        self.outer.note = RECORDED
        self.front.streams.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        return True
