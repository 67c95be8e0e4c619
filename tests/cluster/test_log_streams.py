"""Logs that are followed: what ends it, and what is said where they may not be read."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kfunc.cluster.log_streams import Following, Line
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest
from tests.cluster.controllers import pod


class Talking:
    """A cluster with one pod that never stops talking, or whose log may not be read."""

    def __init__(self, refused: int = 0) -> None:
        self.refused = refused

    def objects(self, *_: Any) -> list[Manifest]:
        return [pod("iris-1")]

    def logs(self, *_: Any, **__: Any) -> Iterator[str]:
        if self.refused:
            raise ClusterError("you may not get pods/log", self.refused)
        for number in range(100_000):
            yield f"2026-11-25T14:00:00.{number:06}Z line"


class Ended:
    """A cluster with a container that has ended and is not started again."""

    def __init__(self) -> None:
        self.since = list[str]()
        self.twice = threading.Event()

    def objects(self, *_: Any) -> list[Manifest]:
        return [pod("iris-1")]

    def logs(self, *_: Any, since: str, **__: Any) -> Iterator[str]:
        self.since.append(since)
        if len(self.since) > 1:
            self.twice.set()
        yield from ("2026-11-25T14:00:00.000001Z first", "2026-11-25T14:00:09.000001Z last")


class Quiet:
    """A cluster with a container that says nothing more, and connections that end; the first ask may fail."""

    def __init__(self, refused: int = 0) -> None:
        self.refused = refused
        self.asked = list[tuple[int | None, str]]()
        self.twice = threading.Event()

    def now(self) -> float:
        return 1_700_000_000.5

    def objects(self, *_: Any) -> list[Manifest]:
        return [pod("iris-1")]

    def logs(self, *_: Any, tail: int | None, since: str, **__: Any) -> Iterator[str]:
        self.asked.append((tail, since))
        if len(self.asked) > 1:
            self.twice.set()
        elif self.refused:
            raise ClusterError("no log", self.refused)
        if tail is None and not since:
            yield "2023-11-14T00:00:00Z yesterday's"


def following(cluster: Any, tail: int | None = None) -> Following:
    return Following(cluster, "team", {}, set(), tail)


def test_a_reader_that_goes_while_more_is_written_than_fits_is_not_kept() -> None:
    found = following(Talking())
    lines = found.lines()
    next(lines)
    while not found._lines.full():
        threading.Event().wait(0.01)
    stopping = threading.Thread(target=found.stop, daemon=True)
    stopping.start()
    stopping.join(5)
    assert not stopping.is_alive()
    assert list(lines) == []


def test_of_a_log_that_was_read_only_what_is_new_is_asked_for() -> None:
    ended = Ended()
    found = following(ended)
    lines = found.lines()
    assert [next(lines).text, next(lines).text] == ["first", "last"]
    assert ended.twice.wait(5)
    found.stop()
    assert list(lines) == []
    assert ended.since[:2] == ["", "2026-11-25T14:00:09.000001Z"]


def test_a_log_that_may_not_be_read_is_said() -> None:
    found = following(Talking(refused=403))
    assert next(found.lines()) == Line("", "iris-1", "handler", "kfunc: you may not get pods/log")
    found.stop()


@pytest.mark.parametrize(
    ("refused", "then"),
    [
        (0, (None, "2023-11-14T22:13:20.500000Z")),  # nothing was said: only what is new
        (503, (0, "")),  # it was not asked: as at first
        (400, (None, "")),  # it had not started: all of it is new
    ],
)
def test_after_nothing_was_read_only_what_is_new_is_shown(refused: int, then: tuple[int | None, str]) -> None:
    quiet = Quiet(refused)
    found = following(quiet, tail=0)
    threading.Thread(target=lambda: list(found.lines()), daemon=True).start()
    assert quiet.twice.wait(5)
    found.stop()
    assert quiet.asked[:2] == [(0, ""), then]
