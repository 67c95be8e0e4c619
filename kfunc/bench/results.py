"""What a run has shown, and whether it was the server's doing. Sans-IO."""

from msgspec import Struct

from kfunc.bench.histogram import Histogram

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
BUSY = 0.9  # of a core: the client had no time left for what else it could have asked
LATE_S = 0.002
LAG_S = 0.005  # the event loop's own times are exact to a millisecond
EXPLAINS = 0.1  # of the p99: a client that was less late than that is not why answers were late
KEEPS_UP = 0.95  # of the rate: below it the function is slower than requests arrive
LONGEST_WORDS = 200  # characters


class Plan(Struct, frozen=True):
    """How to ask. `rate`: requests/s that arrive whatever happens (open loop); None: each connection asks when it is
    answered (closed loop). Times in seconds."""

    connections: int
    duration_s: float
    warmup_s: float
    timeout_s: float
    rate: float | None = None


class Second(Struct):
    """One second of a run; the last one of a run that is no whole number of them has half a second to one and a half.

    `requests` are the answers that came in it; the rest is of the requests that were due in it.
    """

    length_s: float
    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


class Recorder:
    """Takes up requests of the time between `begins_at` and `ends_at`.

    A latency runs from when the request was due, so that one that had to wait for a slow one before it counts with
    its waiting (coordinated omission); in a closed loop that is when it was sent. A rate is of answers by when they came:
    what a slow server answers after the end it did not answer in time.
    """

    def __init__(self, begins_at: float, ends_at: float) -> None:
        self.begins_at = begins_at
        self.ends_at = ends_at
        self.seconds: list[Histogram] = [Histogram() for _ in range(max(1, int(ends_at - begins_at + 0.5)))]
        self.came: list[int] = [0] * len(self.seconds)
        self.steady = 0  # answers that came no later after the first of them than the whole time is long
        self._steady_until = 0.0
        self.failed: list[int] = [0] * len(self.seconds)
        self.errors: dict[str, int] = {}
        self.said: dict[str, str] = {}
        self.service = Histogram()  # from when it was sent
        self.late = Histogram()  # from when it was due until it was sent, though a connection was free
        self.lag = Histogram()  # of the client itself: how late it was where nothing but itself could be the cause
        self.bytes = 0

    def answered(self, due_at: float, sent_at: float, now: float, size: int) -> None:
        """A good answer."""
        if self.begins_at <= now < self.ends_at:
            self.came[self._second(now)] += 1
        if self.begins_at <= due_at < self.ends_at:
            self.seconds[self._second(due_at)].add(now - due_at)
            self.service.add(now - sent_at)
            self._steady_until = self._steady_until or now + self.ends_at - self.begins_at
            if now < self._steady_until:
                self.steady += 1
                self.bytes += size

    def fail(self, due_at: float, reason: str, words: bytes = b"") -> None:
        """No answer, or another one; `words` are the server's, of which the first are kept for each reason."""
        if self.begins_at <= due_at < self.ends_at:
            self.failed[self._second(due_at)] += 1
            self.errors[reason] = self.errors.get(reason, 0) + 1
            if words and reason not in self.said:
                self.said[reason] = first_words(words)

    def _second(self, at: float) -> int:
        return min(int(at - self.begins_at), len(self.seconds) - 1)

    @property
    def lengths(self) -> list[float]:
        """Of the seconds: the last has what is left."""
        whole = [1.0] * (len(self.seconds) - 1)
        return [*whole, round(self.ends_at - self.begins_at - len(whole), 6)]


class Result(Struct):
    """A run, as `--output json` prints it. Latencies in milliseconds; `said` is what the server first said of each error."""

    plan: Plan
    requests: int
    errors: dict[str, int]
    said: dict[str, str]
    requests_per_s: float
    bytes_per_s: float
    latency_ms: dict[str, float]
    service_ms: dict[str, float]
    seconds: list[Second]
    client_cpu: float
    client_lag_p90_ms: float
    late_p99_ms: float
    unsent: int
    bottleneck: str


def summarize(plan: Plan, recorder: Recorder, cpu_s: float, unsent: int = 0) -> tuple[Result, Histogram]:
    """The result, and all its latencies. `cpu_s` is what the client's process used meanwhile, `unsent` what was never sent."""
    latencies = Histogram()
    for second in recorder.seconds:
        latencies.merge(second)
    span = recorder.ends_at - recorder.begins_at
    cpu, late, lag = cpu_s / span, recorder.late.percentile(99), recorder.lag.percentile(90)
    result = Result(
        plan=plan,
        requests=latencies.count,
        errors=recorder.errors,
        said=recorder.said,
        requests_per_s=recorder.steady / span,
        bytes_per_s=recorder.bytes / span,
        latency_ms=_shown(latencies),
        service_ms=_shown(recorder.service),
        seconds=[
            Second(length, came, failed, round(each.percentile(50) * 1e3, 4), round(each.percentile(99) * 1e3, 4))
            for length, each, came, failed in zip(
                recorder.lengths, recorder.seconds, recorder.came, recorder.failed, strict=True
            )
        ],
        client_cpu=round(cpu, 3),
        client_lag_p90_ms=round(lag * 1e3, 4),
        late_p99_ms=round(late * 1e3, 4),
        unsent=unsent,
        bottleneck=bottleneck(plan, cpu, late, lag, latencies.percentile(99)),
    )
    return result, latencies


def overload(result: Result) -> str:
    """What to say of a function that answers less than arrives; empty where it keeps up, and in a closed loop."""
    rate = result.plan.rate
    if rate is None or result.requests_per_s >= rate * KEEPS_UP:
        return ""
    answered, arrive = (f"{each:,.0f}" if each >= 100 else f"{each:.3g}" for each in (result.requests_per_s, rate))
    return f"the function answers {answered}/s of the {arrive}/s that arrive"


def bottleneck(plan: Plan, cpu: float, late_s: float, lag_s: float = 0.0, p99_s: float = 0.0) -> str:
    """Why the figures are the client's and not the server's; empty where they are the server's, as where the client was
    late by little beside the latency that it saw (`p99_s`)."""
    if cpu >= BUSY:
        return f"the client used {cpu:.0%} of a core: it could not ask faster, and measured its own waiting too"
    if plan.rate is not None and late_s > max(LATE_S, p99_s * EXPLAINS):
        return f"the client sent 1 % of the requests more than {late_s * 1e3:.1f} ms late"
    if lag_s > max(LAG_S, p99_s * EXPLAINS):
        return f"the client itself woke {lag_s * 1e3:.1f} ms late or more, one time in ten: give it a core of its own (taskset)"
    return ""


def first_words(words: bytes) -> str:
    """The first of a server's words, on one line and without what would steer a terminal."""
    text = " ".join(words.decode("utf-8", "replace").split())
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:LONGEST_WORDS])


def _shown(latencies: Histogram) -> dict[str, float]:
    shown = {f"p{percent:g}": round(latencies.percentile(percent) * 1e3, 4) for percent in PERCENTILES}
    return shown | {"mean": round(latencies.mean * 1e3, 4), "max": round(latencies.largest * 1e3, 4)}
