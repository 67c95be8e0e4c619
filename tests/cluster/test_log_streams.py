"""Logs that are followed: what ends it, and what is said where they may not be read."""

import threading
from collections.abc import Iterator
from typing import Any

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


def following(cluster: Any) -> Following:
    return Following(cluster, "team", {}, set(), None)


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
