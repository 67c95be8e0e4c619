"""Proportional set size: a ready handler and idle sidecars, each alone; the chain after 100,000 requests."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.figures import Figure
from bench.load import Post, post_exactly, wrk
from bench.pod import Plan, handler_command, settings, sidecar_command, start_chain, start_inner, start_ready
from bench.processes import Process, free_port, pss_mb

REQUESTS = 100_000
TARGETS = {"handler": 70.0, "batcher": 35.0, "logger": 35.0}


def measure(plan: Plan) -> list[Figure]:
    """MB of each process with its watcher. Alone is the strict reading: nothing shares its libraries' pages."""
    env = settings(plan.model)
    with tempfile.TemporaryDirectory() as folder:
        alone = {name: _alone(name, env, plan.body, Path(folder)) for name in TARGETS}
        ready, loaded = _chain(env, plan.body, Path(folder))
    figures = []
    for name, target in TARGETS.items():
        figures.append(
            Figure(f"memory: {name}, ready, alone", alone[name], "MB", "≤", target, f"in the chain {ready[name]:.1f}")
        )
        figures.append(Figure(f"memory: {name}, after {REQUESTS:,} requests", loaded[name], "MB", "≤", target, "in the chain"))
    return figures


def _alone(name: str, env: dict[str, str], body: bytes, folder: Path) -> float:
    with ExitStack() as stack:
        if name == "handler":
            port = free_port()
            process = start_ready(stack, handler_command(f"127.0.0.1:{port}"), env, port)
            post_exactly(port, body, 10)
        else:
            path = folder / f"{name}-alone"
            process = start_inner(stack, sidecar_command(f"{name}_sidecar", f"unix:{path}", f"unix:{folder}/absent"), env, path)
        return pss_mb(process.pid)


def _chain(env: dict[str, str], body: bytes, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Sizes of the three processes together: ready, and after the load."""
    port = free_port()
    with ExitStack() as stack:
        processes = start_chain(stack, env, folder, port)
        post_exactly(port, body, 10)
        ready = _sizes(processes)
        done = 0
        while done < REQUESTS:
            done += wrk(port, Post(body), 16, 2).requests
        return ready, _sizes(processes)


def _sizes(processes: dict[str, Process]) -> dict[str, float]:
    return {name: pss_mb(process.pid) for name, process in processes.items()}
