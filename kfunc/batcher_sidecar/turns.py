"""Whose turn it is while too much is in flight. Sans-IO.

Models take turns by the time that their batches have taken, and a model's groups by turns.
"""

from typing import Generic, TypeVar

from kfunc.batcher_sidecar.queues import Flow, Group

T = TypeVar("T")


class Turns(Generic[T]):
    """`flows` are those with groups that are due."""

    __slots__ = ("_period", "_served_s", "flows")

    def __init__(self) -> None:
        self.flows: list[Flow[T]] = []
        self._served_s = 0.0  # `used_s` of the flow that was served last
        self._period = 0  # times at which too much was in flight, by number

    def enqueue(self, group: Group[T]) -> None:
        """A group is due, and waits for its turn."""
        flow = group.flow
        if not self.flows:  # what was used while there was enough for all counts for nothing
            self._period += 1
            self._served_s = 0.0
        if flow.period != self._period:
            flow.period = self._period
            flow.used_s = self._served_s
        if not flow.ready:
            self.flows.append(flow)
            if not flow.in_flight:  # it has used nothing lately: no more credit than the others for that
                flow.used_s = max(flow.used_s, self._served_s)
        self.again(group)

    def again(self, group: Group[T]) -> None:
        """A group that has just had its turn waits for the next one."""
        group.flow.ready.append(group)
        group.is_ready = True

    def next_group(self) -> Group[T]:
        """Of the model whose batches have taken the least time."""
        return min(self.flows, key=lambda each: each.used_s).next_ready()

    def served(self, flow: Flow[T]) -> None:
        """A batch of it is sent."""
        self._served_s = flow.used_s

    def ended(self, flow: Flow[T]) -> None:
        """The turn of a model is over: it stays while groups of it wait."""
        if not flow.ready:
            self.flows.remove(flow)
