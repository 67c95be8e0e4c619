"""A run's result for the terminal: figures, the distribution of latencies, and rate and p99 second by second. Sans-IO."""

from collections.abc import Iterator, Sequence

from kfunc.bench.histogram import Histogram
from kfunc.bench.results import Plan, Result, overload

BARS = " ▏▎▍▌▋▊▉█"
COLUMNS = "▁▂▃▄▅▆▇█"
WIDTH = 40
MOST_COLUMNS = 60


def text_report(result: Result, latencies: Histogram, title: str) -> str:
    """All of it, without a line end."""
    failed = sum(result.errors.values())
    total = result.requests + failed
    lines = [
        title,
        how(result.plan),
        "",
        f"{result.requests_per_s:,.1f} requests/s answered, {result.requests:,} in all, {size(result.bytes_per_s)}/s",
        f"latency   {'   '.join(f'{name} {value}' for name, value in latencies_of(result).items())}",
    ]
    if result.plan.rate is not None:
        lines.append("          from when a request was due until its answer: waiting for a connection is in it")
    lines += [f"overload  {overload(result)}"] if overload(result) else []
    lines += [f"errors    {failed:,} of {total:,} ({failed / total:.2%})"] if total and failed else []
    lines += failures(result)
    if result.unsent:
        busy = f"all {result.plan.connections} connections were busy; the server is slower than this rate"
        lines.append(f"unsent    {result.unsent:,}: {busy}")
    lines += ["", *distribution(latencies)] if result.requests else []
    lines += ["", *by_second(result)] if len(result.seconds) > 1 and result.requests else []
    lines += ["", f"client    {result.client_cpu:.0%} of a core"]
    if result.bottleneck:
        lines.append(f"warning   these are not the server's limits: {result.bottleneck}")
    return "\n".join(lines)


def latencies_of(result: Result) -> dict[str, str]:
    """By name; without an answer there is none."""
    return {name: duration(value) if result.requests else "–" for name, value in result.latency_ms.items()}


def failures(result: Result) -> Iterator[str]:
    """How many of each kind, and what the server said of it."""
    for reason, count in sorted(result.errors.items(), key=lambda item: -item[1]):
        yield f"          {count:,} × {reason}"
        if reason in result.said:
            yield f"          the server says: {result.said[reason]}"


def how(plan: Plan) -> str:
    """How it was asked."""
    span = f"for {plan.duration_s:g} s, after {plan.warmup_s:g} s that do not count"
    if plan.rate is None:
        return f"{plan.connections} connections, each asks again when it is answered (closed loop), {span}"
    return f"{plan.rate:g} requests/s arrive whatever happens (open loop), on up to {plan.connections} connections, {span}"


def edges_of(latencies: Histogram) -> list[float]:
    """Three bands to each power of ten, from the least value to the largest."""
    found: list[float] = []
    for power in range(-6, 4):
        found += [scale * 10.0**power for scale in (1, 2, 5)]
    low, high = latencies.percentile(0), latencies.largest
    first = max((at for at, edge in enumerate(found) if edge <= low), default=0)
    last = min((at for at, edge in enumerate(found) if edge > high), default=len(found) - 1)
    return found[first : last + 1]


def distribution(latencies: Histogram) -> Iterator[str]:
    """A bar for each band."""
    edges = edges_of(latencies)
    counts = list(latencies.bands(edges))
    most = max(counts, default=0) or 1
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        name = f"{duration(low * 1e3)} – {duration(high * 1e3)}"
        yield f"{name:>20}  {bar(count / most)} {count:,}".rstrip()


def bar(part: float) -> str:
    """A bar of that part of the whole width, to an eighth of a column."""
    eighths = round(part * WIDTH * 8)
    return ("█" * (eighths // 8) + BARS[eighths % 8].strip()).ljust(WIDTH)


def by_second(result: Result) -> Iterator[str]:
    """Rate and p99 as columns, the least and the largest as numbers; long runs have several seconds in a column."""
    rates = joined([second.requests / second.length_s for second in result.seconds])
    tails = joined([second.p99_ms for second in result.seconds])
    yield f"requests/s  {columns(rates)}  {min(rates):,.0f} – {max(rates):,.0f}"
    yield f"p99         {columns(tails)}  {duration(min(tails))} – {duration(max(tails))}"


def joined(values: Sequence[float]) -> list[float]:
    """At most MOST_COLUMNS means of neighbours."""
    step = -(-len(values) // MOST_COLUMNS)
    groups = [values[at : at + step] for at in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]


def columns(values: Sequence[float]) -> str:
    """A column for each value, the largest being the highest."""
    most = max(values) or 1.0
    return "".join(COLUMNS[min(7, int(value / most * 7.999))] for value in values)


def duration(ms: float) -> str:
    """Milliseconds with their unit, three digits."""
    if ms >= 1000:
        return f"{ms / 1e3:.3g} s"
    return f"{ms:.3g} ms" if ms >= 1 else f"{ms * 1e3:.3g} µs"


def size(count: float) -> str:
    """Bytes with their unit."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
