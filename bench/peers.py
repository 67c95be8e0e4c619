"""V2 JSON infer of the tiny model beside KServe's Python server and MLServer, both at their best settings.

Each has one worker on one core; uvicorn with a bare app and the ceiling show what the libraries leave to any server.
"""

from contextlib import ExitStack
from statistics import median

from bench.figures import Bound, Figure, ratio
from bench.load import Post
from bench.pod import Plan
from bench.rivals import Runs, rates, rounds, same_answers, seen, start

NAMES = ("kfunc", "ceiling", "uvicorn", "KServe", "MLServer")
TARGETS: dict[str, tuple[Bound, float]] = {
    "ceiling": ("≥", 0.8),
    "uvicorn": ("", 0.0),
    "KServe": ("≥", 20.0),
    "MLServer": ("≥", 20.0),
}
LARGEST_TAIL = 10.0


def measure(plan: Plan) -> list[Figure]:
    """Ratios of rates at 16 connections, heads that repeat and heads that differ; tails at 64."""
    post = Post(plan.body)
    with ExitStack() as stack:
        rivals = start(stack, NAMES, plan.model, post)
        same_answers(rivals, post)
        figures = []
        for vary in (False, True):
            figures += _ratios(rounds(rivals, post, 16, plan.rounds, plan.seconds, vary=vary), vary)
        return figures + _tails(rounds(rivals, post, 64, plan.rounds, plan.seconds))


def _ratios(runs: Runs, vary: bool) -> list[Figure]:
    at = f"peers c16{', heads differ' if vary else ''}:"
    limit = ", ".join(f"{name} {ratio(rates(runs, 'ceiling'), rates(runs, name)):.1f} ×" for name in ("KServe", "MLServer"))
    figures = []
    for name, (bound, target) in TARGETS.items():
        told = f"{seen(runs, 'kfunc')} · {seen(runs, name)}" if name == "ceiling" else seen(runs, name)
        figures.append(Figure(f"{at} kfunc / {name}", ratio(rates(runs, "kfunc"), rates(runs, name)), "×", bound, target, told))
    figures[0].seen += f" · the ceiling itself is {limit}"
    return figures


def _tails(runs: Runs) -> list[Figure]:
    figures = []
    for name, kept in runs.items():
        tail = median(run.load.p99_us / run.load.p50_us for run in kept)
        bound: Bound = "≤" if name == "kfunc" else ""
        figures.append(Figure(f"peers c64: p99 / p50 of {name}", tail, "×", bound, LARGEST_TAIL, seen(runs, name)))
    return figures
