"""A run's result as one HTML file: its charts are SVG, nothing is loaded and nothing runs. Sans-IO."""

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

from kfunc.bench.histogram import Histogram
from kfunc.bench.results import Result, overload
from kfunc.bench.text_report import duration, edges_of, how, latencies_of, size

WIDTH, HEIGHT, LEFT = 640, 200, 70
STYLE = """
:root { color-scheme: light dark; --line: #1d5fc4; --soft: #565d6b; --grid: #cfd4dd; --back: #fff; --text: #1a1d23; }
@media (prefers-color-scheme: dark) {
:root { --line: #7fb0ff; --soft: #a8b0bf; --grid: #353b46; --back: #1b1e24; --text: #e8eaef; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem; }
body { background: var(--back); color: var(--text); }
h1, h2 { font-size: 1.3rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2rem 1.5rem .2rem 0; border-bottom: 1px solid var(--grid); }
td { font-variant-numeric: tabular-nums; } .soft { color: var(--soft); } .warning { font-weight: 600; }
svg { width: 100%; height: auto; } text { fill: var(--soft); font-size: 12px; } .grid { stroke: var(--grid); }
.line { fill: none; stroke: var(--line); stroke-width: 2; } rect { fill: var(--line); }
"""


def html_report(result: Result, latencies: Histogram, title: str, at: str) -> str:
    """The document; `at` says when it was measured."""
    charts = []
    if result.requests:
        charts.append(("Latencies", bars(latencies)))
        charts.append(("Percentiles", percentiles(latencies)))
    if len(result.seconds) > 1 and result.requests:
        charts.append(("Requests/s", over_time([each.requests / each.length_s for each in result.seconds], "{:,.0f}".format)))
        charts.append(("p99 by second", over_time([each.p99_ms for each in result.seconds], duration)))
    drawn = "".join(f"<h2>{escape(name)}</h2>{chart}" for name, chart in charts)
    warning = (
        f'<p class="warning">These are not the server’s limits: {escape(result.bottleneck)}.</p>' if result.bottleneck else ""
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="soft">{escape(how(result.plan))}. {escape(at)}</p>{warning}{table(result)}{drawn}</body></html>\n'
    )


def table(result: Result) -> str:
    """The figures."""
    rows = [("answered", f"{result.requests:,} ({result.requests_per_s:,.1f}/s, {size(result.bytes_per_s)}/s)")]
    rows += [("overload", overload(result))] if overload(result) else []
    rows += [(f"latency {name}", value) for name, value in latencies_of(result).items()]
    rows += [(f"error: {reason}", f"{count:,}") for reason, count in result.errors.items()]
    rows += [(f"the server says of {reason}", words) for reason, words in result.said.items()]
    rows += [("never sent", f"{result.unsent:,}")] if result.unsent else []
    rows.append(("client", f"{result.client_cpu:.0%} of a core"))
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<table>{cells}</table>"


def bars(latencies: Histogram) -> str:
    """A bar for each band of latencies."""
    edges = edges_of(latencies)
    counts = list(latencies.bands(edges))
    most, row = max(counts) or 1, 22
    parts = []
    for at, count in enumerate(counts):
        y, width = at * row, (WIDTH - 2 * LEFT - 80) * count / most
        name = f"{duration(edges[at] * 1e3)} – {duration(edges[at + 1] * 1e3)}"
        parts.append(
            f'<text x="{LEFT * 2 - 8}" y="{y + 15}" text-anchor="end">{name}</text>'
            f'<rect x="{LEFT * 2}" y="{y + 3}" width="{width:.1f}" height="16"/>'
            f'<text x="{LEFT * 2 + width + 6:.1f}" y="{y + 15}">{count:,}</text>'
        )
    return svg("".join(parts), len(counts) * row, "Latencies by band")


def percentiles(latencies: Histogram) -> str:
    """The latency that each percentile has, where nines are as far apart as they are rare."""
    marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99]
    points: list[tuple[float, float]] = []
    for at, (low, high) in enumerate(pairwise(marks)):
        for step in range(10):
            percent = low + (high - low) * step / 10
            points.append((at + step / 10, latencies.percentile(percent) * 1e3))
    names = [(at / (len(marks) - 1), f"{mark:g} %") for at, mark in enumerate(marks)]
    return line([value for _, value in points], duration, names, "Latency by percentile")


def over_time(values: Sequence[float], show: Callable[[float], str]) -> str:
    """A value for each second."""
    names = [(0.0, "0 s"), (1.0, f"{len(values)} s")]
    return line(values, show, names, "Second by second")


def line(values: Sequence[float], show: Callable[[float], str], names: Sequence[tuple[float, str]], label: str) -> str:
    """A line from left to right, over names at parts of the width."""
    most = max(values) or 1.0
    step = (WIDTH - LEFT - 20) / max(1, len(values) - 1)
    points = " ".join(
        f"{LEFT + at * step:.1f},{10 + (HEIGHT - 40) * (1 - value / most):.1f}" for at, value in enumerate(values)
    )
    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 20}" y1="{10 + (HEIGHT - 40) * (1 - part):.1f}" '
        f'y2="{10 + (HEIGHT - 40) * (1 - part):.1f}"/><text x="{LEFT - 8}" y="{14 + (HEIGHT - 40) * (1 - part):.1f}" '
        f'text-anchor="end">{show(most * part)}</text>'
        for part in (0, 0.5, 1)
    )
    texts = "".join(
        f'<text x="{LEFT + part * (WIDTH - LEFT - 20):.1f}" y="{HEIGHT - 8}" text-anchor="{"end" if part == 1 else "middle"}">'
        f"{name}</text>"
        for part, name in names
    )
    return svg(f'{grid}<polyline class="line" points="{points}"/>{texts}', HEIGHT, label)


def svg(content: str, height: int, label: str) -> str:
    """A drawing with a name for those who do not see it."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{content}</svg>'
