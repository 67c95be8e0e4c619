"""The connections on a transport that records: what they write, and what they take for an answer."""

from collections.abc import Callable

import pytest

from kfunc.bench import h2_frames as h2
from kfunc.bench.connection import Connection
from kfunc.bench.grpc import GrpcConnection, call_fields, read_fields
from kfunc.bench.http1 import Http1Connection
from tests.http.fakes import RecordingTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\nhello"
MESSAGE = b"\0\0\0\0\x05hello"


class Ended(list[str]):
    """Why requests ended."""

    def done(self, connection: Connection, reason: str, size: int) -> None:
        self.append(reason)


def http1(ended: Ended) -> tuple[Http1Connection, RecordingTransport]:
    connection, transport = Http1Connection(b"POST / HTTP/1.1\r\n\r\n", ended.done, lambda _: None), RecordingTransport()
    connection.connection_made(transport)
    connection.send(0.0)
    return connection, transport


@pytest.mark.parametrize("cuts", [[], [3], [20, 40], [len(OK) - 1], list(range(1, len(OK)))])
def test_an_answer_is_taken_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    ended = Ended()
    connection, transport = http1(ended)
    for start, end in zip([0, *cuts], [*cuts, len(OK)], strict=True):
        assert ended == []
        connection.data_received(OK[start:end])
    assert ended == [""]
    assert (connection.received, transport.closed) == (len(OK), False)


@pytest.mark.parametrize(
    ("answer", "reason", "closed"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "status 503", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "", False),
        (b"HTTP/1.1 200 OK\r\ninference-header-content-length: 1\r\ncontent-length: 3\r\n\r\nabc", "", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", "", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP", "", True),
    ],
)
def test_answers_of_every_form(answer: bytes, reason: str, closed: bool) -> None:
    ended = Ended()
    connection, transport = http1(ended)
    connection.data_received(answer)
    assert ended == [reason]
    assert transport.closed is closed


def test_chunks_end_with_the_last_one_only() -> None:
    ended = Ended()
    connection, _ = http1(ended)
    connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
    connection.data_received(b"0\r\n")
    assert ended == []
    connection.data_received(b"\r\n")
    assert ended == [""]


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_one_answer_after_another_on_a_kept_connection(answer: bytes, whole: bool) -> None:
    ended = Ended()
    connection, transport = http1(ended)
    for number in range(3):
        for part in [answer] if whole else [answer[at : at + 1] for at in range(len(answer))]:
            connection.data_received(part)
        assert ended == [""] * (number + 1)
        connection.send(0.0)
    assert not transport.closed


def test_a_body_may_end_as_the_last_chunk_does() -> None:
    ended = Ended()
    connection, _ = http1(ended)
    connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n10\r\n\r\n")
    assert ended == []
    connection.data_received(b"0\r\n\r\n")
    assert ended == [""]


def test_a_connection_that_is_lost_fails_its_request() -> None:
    ended = Ended()
    connection, _ = http1(ended)
    connection.connection_lost(None)
    assert ended == ["connection lost"]


def test_one_that_is_given_up_takes_no_late_answer() -> None:
    ended = Ended()
    connection, transport = http1(ended)
    connection.give_up("no answer within 1 s")
    connection.data_received(OK)
    assert (ended, transport.aborted) == (["no answer within 1 s"], True)


def test_the_connection_of_one_that_is_given_up_is_closed_when_that_is_told() -> None:
    closing: list[bool] = []
    connection = Http1Connection(b"", lambda one, *_: closing.append(one.transport.is_closing()), lambda _: None)
    connection.connection_made(RecordingTransport())
    connection.send(0.0)
    connection.give_up("no answer within 1 s")
    assert closing == [True]


# ---- gRPC


def block(**fields: str) -> bytes:
    from hpack import Encoder

    encoder = Encoder()
    encoder.header_table_size = 0
    encoded: bytes = encoder.encode([(name.replace("_", "-"), value) for name, value in fields.items()])
    return encoded


@pytest.fixture
def call() -> tuple[GrpcConnection, RecordingTransport, Ended, Callable[..., None]]:
    ended, transport = Ended(), RecordingTransport()
    connection = GrpcConnection(MESSAGE, call_fields("host", "/service/Method"), ended.done, lambda _: None)
    connection.connection_made(transport)
    connection.send(0.0)

    def answer(status: str, stream: int = 1) -> None:
        connection.data_received(
            h2.frame(h2.HEADERS, h2.END_HEADERS, stream, block(content_type="application/grpc"))
            + h2.frame(h2.DATA, 0, stream, MESSAGE)
            + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, block(grpc_status=status))
        )

    return connection, transport, ended, answer


def sent(transport: RecordingTransport) -> list[h2.Frame]:
    assert transport.sent.startswith(h2.PREFACE)
    return list(h2.FrameReader().read(transport.sent[len(h2.PREFACE) :]))


Call = tuple[GrpcConnection, RecordingTransport, Ended, Callable[..., None]]


def test_a_call_is_its_fields_and_its_message(call: Call) -> None:
    frames = sent(call[1])
    assert [(kind, stream) for kind, _, stream, _ in frames] == [
        (h2.SETTINGS, 0),
        (h2.WINDOW_UPDATE, 0),
        (h2.HEADERS, 1),
        (h2.DATA, 1),
    ]
    assert read_fields(frames[2][3])[":path"] == "/service/Method"
    assert frames[3][1:] == (h2.END_STREAM, 1, MESSAGE)


@pytest.mark.parametrize(("status", "reason"), [("0", ""), ("14", "grpc-status 14")])
def test_it_ends_as_its_trailers_say(call: Call, status: str, reason: str) -> None:
    call[3](status)
    assert call[2] == [reason]


def test_each_call_has_a_stream_of_its_own_on_the_same_connection(call: Call) -> None:
    connection, transport, ended, answer = call
    answer("0")
    connection.send(0.0)
    answer("0", stream=3)
    assert ended == ["", ""]
    assert sent(transport)[-1][2] == 3


def test_a_message_larger_than_the_window_waits_for_it() -> None:
    ended, transport = Ended(), RecordingTransport()
    connection = GrpcConnection(bytes(100_000), call_fields("host", "/s/M"), ended.done, lambda _: None)
    connection.connection_made(transport)
    connection.send(0.0)

    def data() -> int:
        return sum(len(payload) for kind, _, _, payload in sent(transport) if kind == h2.DATA)

    assert data() == h2.FIRST_WINDOW
    connection.data_received(h2.window_update(0, 1 << 20))
    assert data() == h2.FIRST_WINDOW
    connection.data_received(h2.window_update(1, 1 << 20))
    assert data() == 100_000
    assert sent(transport)[-1][1] == h2.END_STREAM


def test_settings_and_pings_are_answered(call: Call) -> None:
    connection, transport, _, _ = call
    connection.data_received(h2.frame(h2.SETTINGS, 0, 0) + h2.frame(h2.PING, 0, 0, b"12345678"))
    assert sent(transport)[-2:] == [(h2.SETTINGS, h2.ACK, 0, b""), (h2.PING, h2.ACK, 0, b"12345678")]


def test_a_stream_that_is_reset_has_failed(call: Call) -> None:
    call[0].data_received(h2.frame(h2.RST_STREAM, 0, 1, bytes(4)))
    assert call[2] == ["grpc-status stream reset"]


def going_away(last: int) -> bytes:
    return h2.frame(h2.GOAWAY, 0, 0, h2.NUMBER.pack(last) + bytes(4))


def test_a_server_that_goes_away_still_answers_the_call_that_it_has(call: Call) -> None:
    connection, transport, ended, answer = call
    connection.data_received(going_away(last=1))
    assert (ended, transport.closed) == ([], False)
    answer("0")
    assert (ended, transport.closed) == ([""], True)


def test_a_call_that_came_too_late_for_a_server_that_goes_away_has_failed(call: Call) -> None:
    connection, transport, ended, _ = call
    connection.data_received(going_away(last=0))
    assert (ended, transport.closed) == (["the server went away before the call"], True)


def test_a_server_that_goes_away_between_two_calls_gets_no_other(call: Call) -> None:
    connection, transport, ended, answer = call
    answer("0")
    connection.data_received(going_away(last=1))
    assert (ended, transport.closed) == ([""], True)
