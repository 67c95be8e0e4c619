import socket
from selectors import DefaultSelector

import pytest

from kfunc.cli.live import Live, live_line
from kfunc.telemetry.figures import Figures

ALL = frozenset(("logger", "batcher", "handler"))
BUSY = Figures(
    inferences_per_s=1234.4,
    errors_per_s=0.5,
    p50_s=0.0012,
    p99_s=1.5,
    batch_size=6.2,
    batch_fill=0.775,
    events_per_s=2468.0,
    events_waiting=3.0,
)


@pytest.mark.parametrize(
    ("figures", "total", "has", "line"),
    [
        (Figures(), 0, frozenset(("handler",)), "idle, 0 requests so far"),
        (Figures(), 1, frozenset(("handler",)), "idle, 1 request so far"),
        (
            BUSY,
            9,
            ALL,
            "1,234/s · p50 1.2 ms · p99 1.50 s · 0.5 errors/s · batch 6.2, 78% full · events 2,468/s, 3 waiting",
        ),
        (BUSY, 9, frozenset(("handler",)), "1,234/s · p50 1.2 ms · p99 1.50 s · 0.5 errors/s"),
        (Figures(events_dropped=2.0), 4, frozenset(("logger",)), "idle, 4 requests so far · events 0/s, 0 waiting, 2 lost"),
    ],
)
def test_the_line_says_what_there_is(figures: Figures, total: int, has: frozenset[str], line: str) -> None:
    assert live_line(figures, total, has) == line


def answer(listener: socket.socket, count: int) -> None:
    """Answer one scrape in two pieces, as a slow server does."""
    connection, _ = listener.accept()
    connection.recv(4096)
    series = "".join(
        f"kfunc_request_duration_seconds_{name} {count}\n"
        for name in (
            'bucket{component="handler",le="0.1"}',
            'bucket{component="handler",le="+Inf"}',
            'count{component="handler"}',
        )
    )
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + series[:40].encode())
    connection.sendall(series[40:].encode())
    connection.close()


def test_it_asks_each_second_and_shows_what_happened_between() -> None:
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, DefaultSelector() as selector:
        live = Live(selector, listener.getsockname(), lines.append, frozenset(("handler",)))
        for now, count in ((0.0, 10), (1.0, 30)):
            live.step(now)
            answer(listener, count)
            while live.due is not None and live.due != now + 1.0:
                selector.select(5)
                live.step(now)
        live.close()
    assert lines == ["20/s · p50 50 ms · p99 99 ms", ""]


def test_a_process_that_does_not_answer_is_asked_again_and_keeps_nobody_waiting() -> None:
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, DefaultSelector() as selector:
        live = Live(selector, listener.getsockname(), lines.append, frozenset())
        live.step(0.0)
        live.step(2.9)
        assert live.due == 3.0
        live.step(3.0)
        assert live.due == 4.0
        assert lines == []
        live.close()


def test_old_figures_do_not_stay_when_nothing_runs_any_more() -> None:
    lines: list[str] = []
    with DefaultSelector() as selector:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            live = Live(selector, (host, port), lines.append, frozenset(("handler",)))
            for now in 0.0, 1.0:
                live.step(now)
                answer(listener, 10)
                while live.due is not None and live.due != now + 1.0:
                    selector.select(5)
                    live.step(now)
        for now in 2.0, 3.0:
            live.step(now)
        live.close()
    assert lines == ["idle, 10 requests so far", f"no figures: http://{host}:{port}/metrics does not answer", ""]
