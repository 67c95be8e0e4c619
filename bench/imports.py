"""What each process imports from exec to its first answer, and how long its imports take."""

import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.figures import Figure
from bench.load import post_exactly
from bench.pod import Plan, settings, start_chain
from bench.processes import Process, free_port

HEAVY = (
    *("flask", "werkzeug", "grpc", "kubernetes", "opentelemetry", "pydantic"),
    *("ruamel", "click", "rich", "cloudevents", "gunicorn"),
)
NOT_IN_SIDECARS = ("numpy", "onnxruntime", "sklearn", "dataclasses", "argparse")
LINE = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)$", re.MULTILINE)


def measure(plan: Plan) -> list[Figure]:
    """For each process: packages that it must not load and does, and its modules, slowest first."""
    env = {**settings(plan.model), "PYTHONPROFILEIMPORTTIME": "1"}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        processes = start_chain(stack, env, Path(folder), port)
        post_exactly(port, plan.body, 10)
        return [_figure(name, process) for name, process in processes.items()]


def _figure(name: str, process: Process) -> Figure:
    own_us = {module: int(own) for own, _, _, module in LINE.findall(process.output())}
    refused = HEAVY if name == "handler" else HEAVY + NOT_IN_SIDECARS
    found = sorted({module.partition(".")[0] for module in own_us} & set(refused))
    slowest = sorted(own_us.items(), key=lambda item: -item[1])[:5]
    seen = f"{len(own_us)} modules, {sum(own_us.values()) / 1e3:.0f} ms when timed: " + ", ".join(
        f"{module} {spent / 1e3:.1f}" for module, spent in slowest
    )
    return Figure(f"imports: refused packages in the {name}", len(found), "", "≤", 0.0, f"{', '.join(found)} {seen}".strip())
