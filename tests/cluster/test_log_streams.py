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


def test_a_log_that_may_not_be_read_is_said() -> None:
    found = following(Talking(refused=403))
    assert next(found.lines()) == Line("", "iris-1", "handler", "kfunc: you may not get pods/log")
    found.stop()
