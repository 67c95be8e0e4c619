"""Samples as text: Prometheus's text format 0.0.4, and OpenMetrics 1.0, which has exemplars. Sans-IO."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

from kfunc.telemetry.samples import Distribution, Exemplar, Family, Labels, Sample

PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
END = "# EOF"
NAME_FIELDS = (b"name[]", b"name%5B%5D")


def takes_openmetrics(accept: bytes) -> bool:
    """Whether a scraper takes OpenMetrics; who names it, prefers it (Prometheus does, with weights)."""
    return b"application/openmetrics-text" in accept


def names_in(query: bytes) -> tuple[str, ...]:
    """The metrics that a scrape asks for: `name[]=…&name[]=…`, as Prometheus's Python client takes it; none: all."""
    pairs = [each.partition(b"=") for each in query.split(b"&")]
    return tuple([value.decode("latin-1") for name, _, value in pairs if name in NAME_FIELDS])


def metrics_target(names: Sequence[str]) -> str:
    """The path of these metrics; none: of all."""
    return "/metrics" + "".join(f"{'&' if at else '?'}name[]={name}" for at, name in enumerate(names))


def encode(families: list[Family], component: str, *, openmetrics: bool = False) -> str:
    """The text of all families, each series with the label `component`."""
    lines: list[str] = []
    for family in families:
        # The name of a counter's family has no suffix in OpenMetrics, its samples do.
        bare = openmetrics and family.kind == "counter" and family.name.endswith("_total")
        name = family.name.removesuffix("_total") if bare else family.name
        text = family.text.replace("\\", r"\\").replace("\n", r"\n")
        text = text.replace('"', r"\"") if openmetrics else text
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {family.kind}"]
        for sample in family.samples:
            lines += _lines(family.name, sample, f'component="{component}"', openmetrics)
    return "".join(f"{line}\n" for line in [*lines, *([END] if openmetrics else ())])


def _lines(name: str, sample: Sample | Distribution, first: str, openmetrics: bool) -> list[str]:
    labels = first + label_text(sample.labels)
    if isinstance(sample, Sample):
        return [f"{name}{{{labels}}} {number(sample.value)}"]
    lines, total = [], 0.0
    exemplars = sample.exemplars if openmetrics else {}
    for bucket, (count, bound) in enumerate(zip(sample.counts, _bounds(sample.bounds, openmetrics), strict=True)):
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {number(total)}{_exemplar(exemplars.get(bucket))}')
    return [*lines, f"{name}_sum{{{labels}}} {number(sample.sum)}", f"{name}_count{{{labels}}} {number(total)}"]


@lru_cache(64)
def _bounds(bounds: tuple[float, ...], point: bool) -> list[str]:
    return [*(number(bound, point) for bound in bounds), "+Inf"]


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    trace, span = exemplar.trace_id.decode(), exemplar.span_id.decode()
    return f' # {{trace_id="{trace}",span_id="{span}"}} {number(exemplar.value)} {exemplar.at_s:.3f}'


def number(value: float, point: bool = False) -> str:
    """A number as text; with `point` never without one (OpenMetrics, 4.2.2.2: bounds)."""
    if not isfinite(value):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    if abs(value) < 2**53 and value == int(value):
        return f"{int(value)}.0" if point else str(int(value))
    return repr(value)


def label_text(labels: Labels) -> str:
    """Labels behind those that there are, in the text format's quoting."""
    quoted = [(name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels]
    return "".join(f',{name}="{value}"' for name, value in quoted)


def merge(texts: list[str]) -> str:
    """Several processes' texts as one: the series of a family stand together, under one head."""
    families: dict[str, list[str]] = {}
    heads: dict[str, dict[str, str]] = {}
    ended = False
    for text in texts:
        family = ""
        for line in text.split("\n"):  # a label's text may have other ends of lines
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                heads.setdefault(family, {}).setdefault(line[2:6], line)
            elif line == END:
                ended = True
            elif line and not line.startswith("#"):
                families.setdefault(family, []).append(line)
    lines = [line for name, head in heads.items() for line in (*head.values(), *families.get(name, ()))]
    return "".join(f"{line}\n" for line in [*lines, *([END] if ended else ())])
