"""A client of another make (the library h2) and our server, wired together: whatever either does, both agree."""

from collections import deque

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from kfunc.config.inference import Limits
from kfunc.http.exchange import Exchange
from kfunc.http.h2.connection import H2Connection
from kfunc.http.h2.settings import OUR_STREAMS
from kfunc.http.server import HttpServer
from tests.http.fakes import Keeper, RecordingTransport

SIZES = st.sampled_from((0, 1, 100, 20_000, 150_000))


class Streamer(Keeper):
    """Takes bodies above a size as they come; answers when it is told to."""

    stream_above = 50_000

    def __init__(self) -> None:
        super().__init__(waits=True)
        self.bodies: dict[bytes, bytes] = {}

    def handle(self, exchange: Exchange) -> None:
        super().handle(exchange)
        self.bodies[exchange.target] = b""
        exchange.receive(Body(self.bodies, exchange.target))


class Body:
    """A receiver."""

    def __init__(self, bodies: dict[bytes, bytes], path: bytes) -> None:
        self.bodies = bodies
        self.path = path

    def on_chunk(self, chunk: bytes) -> None:
        self.bodies[self.path] += chunk

    def on_end(self) -> None:
        pass


class Request:
    """What a client has sent and got on one stream."""

    def __init__(self, stream_id: int, path: bytes) -> None:
        self.id = stream_id
        self.path = path
        self.unsent: deque[bytes] = deque()
        self.sent = b""
        self.finished = False  # sending
        self.got = b""
        self.status = 0
        self.own_trailers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.ended = False  # the answer
        self.reset = False
        self.expected = b""  # what the application answered
        self.answered = False


class Machine(RuleBasedStateMachine):
    """Requests in parts, answers in parts, cancels, windows and settings, in any order."""

    open_requests = Bundle("open_requests")
    exchanges = Bundle("exchanges")

    def __init__(self) -> None:
        super().__init__()
        self.application = Streamer()
        self.server = HttpServer(self.application, Limits())
        self.transport = RecordingTransport()
        self.connection = H2Connection(self.server)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.requests: dict[int, Request] = {}
        self.started: set[bytes] = set()
        self.client.initiate_connection()
        self.connection.connection_made(self.transport)
        self.settle()

    # ---- wires

    def settle(self) -> None:
        """Carry bytes until neither side has more to say, and send what the windows allow."""
        while True:
            for request in self.requests.values():
                self.push(request)
            data = self.client.data_to_send()
            if data:
                self.connection.data_received(data)
            answers, self.transport.sent = self.transport.sent, b""
            if not data and not answers:
                return
            for event in self.client.receive_data(answers):
                self.note(event)

    def push(self, request: Request) -> None:
        while request.unsent and not request.reset:
            room = min(self.client.local_flow_control_window(request.id), self.client.max_outbound_frame_size)
            chunk = request.unsent[0][:room]
            if request.unsent[0] and not chunk:
                return
            self.client.send_data(request.id, chunk)
            request.sent += chunk
            request.unsent[0] = request.unsent[0][len(chunk) :]
            if not request.unsent[0]:
                request.unsent.popleft()
        if request.finished and not request.unsent and not request.reset and request.path not in self.started:
            self.started.add(request.path)
            if request.own_trailers:
                self.client.send_headers(request.id, request.own_trailers, end_stream=True)
            else:
                self.client.end_stream(request.id)

    def note(self, event: h2.events.Event) -> None:
        request = self.requests.get(getattr(event, "stream_id", 0) or 0)
        assert not isinstance(event, h2.events.ConnectionTerminated)
        if request is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            request.status = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.TrailersReceived):
            request.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.DataReceived):
            request.got += event.data
            if event.flow_controlled_length:
                self.client.acknowledge_received_data(event.flow_controlled_length, request.id)
        elif isinstance(event, h2.events.StreamEnded):
            request.ended = True
        elif isinstance(event, h2.events.StreamReset):
            request.reset = True

    def exchange_of(self, request: Request) -> Exchange | None:
        return next((each for each in self.application.exchanges if each.target == request.path), None)

    # ---- rules

    @rule(target=open_requests, size=SIZES, finish=st.sampled_from((True, True, False)))
    def ask(self, size: int, finish: bool) -> object:
        if self.client.open_outbound_streams >= OUR_STREAMS - 1:
            return multiple()
        stream_id = self.client.get_next_available_stream_id()
        path = b"/%d" % stream_id
        pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path)]
        request = self.requests[stream_id] = Request(stream_id, path)
        self.client.send_headers(stream_id, [*pseudo, (b"x-n", b"%d" % (size % 3))], end_stream=finish and not size)
        request.finished = finish
        if finish and not size:
            self.started.add(path)
        elif size:
            request.unsent.append(bytes([stream_id % 251]) * size)
        self.settle()
        return request

    @rule(request=open_requests, size=SIZES)
    def go_on(self, request: Request, size: int) -> None:
        if not request.finished and not request.reset and size:
            request.unsent.append(bytes([size % 251]) * size)
        self.settle()

    @rule(request=open_requests, with_trailers=st.booleans())
    def finish(self, request: Request, with_trailers: bool) -> None:
        if not request.finished and with_trailers:
            request.own_trailers = [(b"x-end", b"1")]
        request.finished = True
        self.settle()

    @rule(request=open_requests, paused=st.booleans())
    def hold(self, request: Request, paused: bool) -> None:
        exchange = self.exchange_of(request)
        if exchange is not None and not exchange.complete:
            exchange.hold(paused)
        self.settle()

    @rule(request=consumes(open_requests))
    def cancel(self, request: Request) -> None:
        if not request.reset and not request.ended:
            self.client.reset_stream(request.id, 8)
        request.reset = True
        self.settle()
        exchange = self.exchange_of(request)
        assert exchange is None or exchange.cancelled

    @rule(request=open_requests, size=SIZES, with_trailers=st.booleans())
    def answer(self, request: Request, size: int, with_trailers: bool) -> None:
        exchange = self.exchange_of(request)
        if exchange is None or exchange.cancelled or request.answered:
            return
        request.answered = True
        request.expected = bytes([size % 7]) * size
        exchange.trailers = [(b"x-t", b"1")] if with_trailers else None
        if size % 3:
            exchange.respond(200, request.expected)
        else:
            exchange.start(200, b"")
            exchange.write(request.expected[: size // 2])
            exchange.write(request.expected[size // 2 :])
            exchange.finish()
        self.settle()
        assert request.trailers == (exchange.trailers or [])
        assert request.ended
        assert request.reset == (not exchange.complete)  # a client that is still sending may stop

    @rule(window=st.sampled_from((0, 1, 10_000, 65_535, 1_000_000)), frame=st.sampled_from((16_384, 100_000)))
    def change_settings(self, window: int, frame: int) -> None:
        codes = h2.settings.SettingCodes
        self.client.update_settings({codes.INITIAL_WINDOW_SIZE: window, codes.MAX_FRAME_SIZE: frame})
        self.settle()
        self.client.update_settings({codes.INITIAL_WINDOW_SIZE: 65_535})
        self.settle()

    @rule()
    def ping(self) -> None:
        self.client.ping(b"12345678")
        self.settle()

    @rule(seconds=st.sampled_from((0.5, 1, 5)))
    def wait(self, seconds: float) -> None:
        """Not so long that something ends: requests of this machine wait for its rules."""
        self.settle()
        self.connection.core.idle_since = self.server.now = self.server.now + seconds
        for stream in self.connection.core.streams.values():
            stream.moved_at = self.server.now
        if self.connection.deadline < self.server.now:
            self.connection.expire()
        self.settle()

    # ---- what always holds

    @invariant()
    def bodies_arrive_whole(self) -> None:
        for request in self.requests.values():
            exchange = self.exchange_of(request)
            if exchange is not None and not request.reset:
                assert self.application.bodies[request.path] == request.sent
                assert exchange.complete == (request.finished and not request.unsent)
                if exchange.complete:
                    assert getattr(exchange, "received_trailers", []) == request.own_trailers

    @invariant()
    def answers_arrive_whole(self) -> None:
        for request in self.requests.values():
            if request.answered and request.ended:
                assert (request.status, request.got, request.ended) == (200, request.expected, True)

    @invariant()
    def both_count_the_same_streams_and_windows(self) -> None:
        core = self.connection.core
        assert not core.over
        assert len(core.streams) == self.client.open_outbound_streams
        for stream in core.streams.values():
            assert stream.receive_window >= 0
            assert core.out.window >= 0

    @invariant()
    def each_exchange_is_observed_once(self) -> None:
        assert len(self.application.ended) == len({id(exchange) for exchange in self.application.ended})

    def teardown(self) -> None:
        self.connection.connection_lost(None)
        assert {exchange.target for exchange in self.application.exchanges if not exchange.cancelled} == set()


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_whatever_both_sides_do_they_agree = pytest.mark.timeout(120)(Machine.TestCase)
