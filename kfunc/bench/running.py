"""One run: connections that are kept open, requests in a closed or an open loop, and what became of each."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from time import perf_counter

from kfunc.bench.arrivals import Arrivals
from kfunc.bench.connection import Connection, Done
from kfunc.bench.results import Plan, Recorder
from kfunc.bench.timer import Timer
from kfunc.errors import KfuncError

CHECK_S = 0.05
RECONNECT_S = 0.05
Make = Callable[[Done, Callable[[Connection], None]], Connection]


class Run:
    """Asks as `plan` says, at `address`; `make` gives a connection. `measure` is called once."""

    def __init__(self, plan: Plan, address: tuple[str, int], make: Make) -> None:
        self._plan = plan
        self._address = address
        self._make = make
        self._free: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._waiting: deque[float] = deque()  # the times of requests that were due and found no free connection
        self._arrivals: Arrivals | None = None
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.recorder = Recorder(0.0, 0.0)
        self.cpu_s = 0.0

    @property
    def unsent(self) -> int:
        """Requests that were due in the time that counts, and never sent."""
        return sum(due_at >= self.recorder.begins_at for due_at in self._waiting)

    async def measure(self) -> None:
        """The whole run. Raises KfuncError where nobody listens."""
        plan = self._plan
        await self._connect_all()
        now = perf_counter()
        self.recorder = Recorder(now + plan.warmup_s, now + plan.warmup_s + plan.duration_s)
        loop = asyncio.get_running_loop()
        cpu = [time.process_time()]
        loop.call_later(plan.warmup_s, lambda: cpu.append(time.process_time()))
        if plan.rate is not None:
            self._arrivals = Arrivals(plan.rate, now, self.recorder.ends_at)
            self._timer = Timer(self._arrive)
            self._timer.set(now)
        else:
            for connection in list(self._free):
                connection.send(perf_counter())
            self._free.clear()
        await self._until(self.recorder.ends_at)
        self.cpu_s = time.process_time() - cpu[-1]
        await self._until(self.recorder.ends_at + plan.timeout_s, self._under_way)
        self._give_up(list(self._all))
        self._stop()

    async def _connect_all(self) -> None:
        try:
            await asyncio.gather(*(self._connect() for _ in range(self._plan.connections)))
        except OSError as error:
            host, port = self._address
            raise KfuncError(f"no connection to {host}:{port}: {error.strerror or error}") from None

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: self._make(self._done, self._lost), *self._address)
        if self._stopped:
            connection.transport.abort()
            return
        self._all.add(connection)
        self._ready(connection)

    async def _until(self, at: float, wanted: Callable[[], bool] = lambda: True) -> None:
        """Until that time, as long as it is `wanted`; who gets no answer in time gives up meanwhile."""
        while wanted() and (left_s := at - perf_counter()) > 0:
            due_at = perf_counter() + min(CHECK_S, left_s)
            await asyncio.sleep(due_at - perf_counter())
            self.recorder.lag.add(perf_counter() - due_at)
            too_old = perf_counter() - self._plan.timeout_s
            self._give_up([each for each in self._all if each.sent_at <= too_old])

    def _give_up(self, connections: list[Connection]) -> None:
        for connection in connections:
            if connection.busy:
                connection.give_up(f"no answer within {self._plan.timeout_s:g} s")

    def _under_way(self) -> bool:
        """Whether what was asked in time is still without an answer: a server that hangs must not look like an idle one."""
        return bool(self._waiting) or any(each.busy for each in self._all)

    def _stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.close()
        for task in self._tasks:
            task.cancel()
        for connection in self._all:
            connection.transport.abort()

    # ---- requests

    def _arrive(self) -> None:
        """Send what is due."""
        arrivals, timer = self._arrivals, self._timer
        if arrivals is None or timer is None:
            return
        now = perf_counter()
        for due_at in arrivals.take(now):
            connection = self._take_free()
            if connection is not None:
                if due_at >= self.recorder.begins_at:
                    self.recorder.late.add(perf_counter() - due_at)
                connection.send(due_at)
            else:
                self._waiting.append(due_at)
        next_at = arrivals.next_at
        if next_at is not None:
            timer.set(next_at)

    def _take_free(self) -> Connection | None:
        while self._free:
            connection = self._free.popleft()
            if not connection.transport.is_closing():  # or it is just being lost
                return connection
        return None

    def _done(self, connection: Connection, reason: str, size: int) -> None:
        """A request has ended."""
        now = perf_counter()
        if self._stopped:
            return
        if reason:
            # In a closed loop a failure counts when it ends in time, too: nobody asked anything else on its connection.
            closed = self._plan.rate is None and now >= self.recorder.begins_at
            at = max(connection.due_at, self.recorder.begins_at) if closed else connection.due_at
            self.recorder.fail(at, reason, connection.words)
        else:
            self.recorder.answered(connection.due_at, connection.sent_at, now, size)
        if not connection.transport.is_closing():
            self._ready(connection)

    def _ready(self, connection: Connection) -> None:
        """A connection is free."""
        if self._plan.rate is not None:
            due_at = self._next_waiting()
            if due_at is None:
                self._free.append(connection)
            else:
                connection.send(due_at)
        elif self.recorder.ends_at == 0.0:
            self._free.append(connection)
        elif perf_counter() < self.recorder.ends_at:
            connection.send(perf_counter())

    def _next_waiting(self) -> float | None:
        """The first request that still waits; whoever sent those that are too old has given up."""
        given_up = perf_counter() - self._plan.timeout_s
        while self._waiting:
            due_at = self._waiting.popleft()
            if due_at >= given_up:
                return due_at
            self.recorder.fail(due_at, f"no answer within {self._plan.timeout_s:g} s")
        return None

    def _lost(self, connection: Connection) -> None:
        """Another one takes its place, after a moment: the server may have ended."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self._stopped:
            task = asyncio.get_running_loop().create_task(self._reconnect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reconnect(self) -> None:
        while not self._stopped:
            await asyncio.sleep(RECONNECT_S)
            try:
                await self._connect()
                return
            except OSError:
                now = perf_counter()
                if self._plan.rate is None:
                    self.recorder.fail(now, "no connection")
