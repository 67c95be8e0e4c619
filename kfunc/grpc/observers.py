"""Streams that watch the server: health, and reflection."""

from pathlib import Path

import kfunc.protocol.grpc
from kfunc.grpc.asked import Asked, Taker, head_of
from kfunc.grpc.reading import check_question
from kfunc.grpc.stream import StreamCall
from kfunc.protocol.grpc import schema, services
from kfunc.protocol.grpc.reflection import Descriptors

READY = b"/v2/health/ready"


class Watch(StreamCall):
    """grpc.health.v1's Watch: the status now, and again whenever it is another one."""

    asked: Asked | None = None
    _told = -1
    _known = True

    def take(self, message: bytes) -> None:
        """Whose health; the call goes on until the client ends it."""
        check_question(len(message))
        service = schema.decode(services.HEALTH_REQUEST, message)["service"]
        self._known = service in ("", *services.SERVICES)
        self._look()

    def tick(self, *, draining: bool) -> None:
        """Look again."""
        super().tick(draining=draining)
        if draining:
            self._tell(services.NOT_SERVING)
            self.end()
        elif self._told >= 0:
            self._look()

    def _look(self) -> None:
        if not self._known:
            self._tell(services.SERVICE_UNKNOWN)
        elif self.asked is None:
            self.asked = Asked(self.outer, Taker(self), b"GET", READY, head_of(self.outer, READY, None))
            self.front.ask(self.asked)

    def answered(self, status: int, lines: bytes, body: bytes) -> None:
        """How REST is."""
        asked, self.asked = self.asked, None
        if asked is not None:
            self.front.application.observe(asked)
        self._tell(services.SERVING if status == 200 else services.NOT_SERVING)

    def broken_off(self) -> None:
        """It did not say."""
        self.answered(503, b"", b"")

    def _tell(self, status: int) -> None:
        if status != self._told:
            self._told = status
            self.write(schema.encode(services.HEALTH_ANSWER, {"status": status}))

    def stop(self) -> None:
        """Nobody wants to know any more."""
        if self.asked is not None:
            self.asked.cancel()
            self.answered(503, b"", b"")


class Reflection(StreamCall):
    """Server reflection: each question has its answer at once."""

    _descriptors: Descriptors | None = None

    def take(self, message: bytes) -> None:
        """Answer from the descriptors."""
        check_question(len(message))
        if Reflection._descriptors is None:
            path = Path(kfunc.protocol.grpc.__file__).with_name("descriptors.binpb")
            Reflection._descriptors = Descriptors(path.read_bytes())
        self.write(Reflection._descriptors.answer(message))
        self.done()
