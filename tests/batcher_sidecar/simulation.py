"""A closed loop of callers, the policy and an upstream, in simulated time."""

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from itertools import count

from kfunc.batcher_sidecar.policy import Bounds, Policy
from kfunc.batcher_sidecar.queues import Batch


class Simulation:
    """`callers` that ask again `think_s` after each answer, in front of an upstream that makes `at_once` calls at a time."""

    def __init__(
        self,
        bounds: Bounds,
        service_s: Callable[[int], float],
        callers: int,
        think_s: Callable[[], float],
        at_once: int = 1,
    ) -> None:
        self.policy: Policy[float] = Policy(bounds)
        self.flow = self.policy.flow()
        self.sizes: list[int] = []
        self.latencies: list[float] = []
        self.on_complete: Callable[[Batch[float], float], None] = lambda batch, now: None
        self._service_s = service_s
        self._think_s = think_s
        self._numbers = count()
        self._events: list[tuple[float, int, Batch[float] | None]] = []
        self._free_at = [0.0] * at_once  # a heap
        for _ in range(callers):
            self._schedule(think_s(), None)

    def _schedule(self, at: float, batch: Batch[float] | None) -> None:
        heappush(self._events, (at, next(self._numbers), batch))

    def run(self, seconds: float) -> None:
        """Until then; what is counted is counted anew."""
        self.sizes.clear()
        self.latencies.clear()
        while self._events:
            due_at = self.policy.due_at()
            if due_at is not None and due_at <= self._events[0][0]:
                now = due_at
            else:
                now, _, batch = heappop(self._events)
                if now > seconds:
                    self._schedule(now, batch)
                    return
                self._happens(now, batch)
            for batch in self.policy.take(now):
                ends_at = max(self._free_at[0], now) + self._service_s(batch.rows)
                heapreplace(self._free_at, ends_at)
                self._schedule(ends_at, batch)

    def _happens(self, now: float, batch: Batch[float] | None) -> None:
        if batch is None:
            self.policy.add(self.flow, "k", now, 1, now)
            return
        self.policy.complete(batch, now)
        self.on_complete(batch, now)
        self.sizes.append(batch.rows)
        for part in batch.parts:
            self.latencies.append(now - part.ticket.item)
            self._schedule(now + self._think_s(), None)

    @property
    def p99(self) -> float:
        return sorted(self.latencies)[int(0.99 * len(self.latencies))]
