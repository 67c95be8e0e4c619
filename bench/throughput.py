"""Requests per second of V2 JSON infer, one worker on one core: kfunc, the ceiling, Flask on gunicorn."""

from contextlib import ExitStack
from statistics import median

from bench.figures import Bound, Figure, ratio
from bench.load import Post
from bench.pod import Plan
from bench.rivals import Runs, rates, rounds, same_answers, seen, start

NAMES = ("kfunc", "ceiling", "Flask")


def measure(plan: Plan) -> list[Figure]:
    """Ratios of rates at 16 connections, with heads that repeat and heads that differ, and at 64."""
    post = Post(plan.body)
    with ExitStack() as stack:
        rivals = start(stack, NAMES, plan.model, post)
        same_answers(rivals, post)
        figures = []
        for connections, vary in ((16, False), (16, True), (64, False)):
            figures += _figures(connections, vary, rounds(rivals, post, connections, plan.rounds, plan.seconds, vary=vary))
        return figures


def _figures(connections: int, vary: bool, runs: Runs) -> list[Figure]:
    kfunc, ceiling, flask = (rates(runs, name) for name in NAMES)
    spent = {name: [run.cpu_us for run in kept] for name, kept in runs.items()}
    bound: Bound = "≥" if connections == 16 else ""
    at = f"throughput c{connections}{', heads differ' if vary else ''}:"
    limit = f"the ceiling itself is {ratio(ceiling, flask):.1f} ×"
    cpu = ", ".join(f"{name} {median(kept):.1f} µs" for name, kept in spent.items())
    both = f"{seen(runs, 'kfunc')} · {seen(runs, 'ceiling')}"
    return [
        Figure(f"{at} kfunc / ceiling", ratio(kfunc, ceiling), "×", bound, 0.8, both),
        Figure(f"{at} kfunc / Flask", ratio(kfunc, flask), "×", bound, 15.0, f"{seen(runs, 'Flask')} · {limit}"),
        Figure(f"{at} CPU per request, ceiling / kfunc", ratio(spent["ceiling"], spent["kfunc"]), "×", seen=cpu),
    ]
