"""Requests per second of V2 JSON infer, one worker on one core: kfunc, the ceiling, Flask on gunicorn."""

from contextlib import ExitStack
from statistics import median

import msgspec

from bench.figures import Bound, Figure, ratio
from bench.load import PATH, Load, answers, call, wrk
from bench.pod import Plan, handler_command, settings, start_ready
from bench.processes import BenchError, Process, cpu_seconds, free_port, python, running, wait_until

NAMES = ("kfunc", "ceiling", "Flask")
UNDISTURBED = 0.9


class Run(msgspec.Struct):
    """One run of load on one server; `cpu` in seconds, of the server with its children."""

    load: Load
    cpu: float

    @property
    def cpu_us(self) -> float:
        """µs of CPU for a request."""
        return self.cpu / self.load.requests * 1e6


def measure(plan: Plan) -> list[Figure]:
    """Ratios of rates at 16 connections, with heads that repeat and heads that differ, and at 64."""
    with ExitStack() as stack:
        servers = _start(stack, plan)
        _same_answers([port for port, _ in servers], plan.body)
        for port, _ in servers:
            wrk(port, plan.body, 16, 1)
        figures = []
        for connections, vary in ((16, False), (16, True), (64, False)):
            runs: list[list[Run]] = [[] for _ in servers]
            for _ in range(plan.rounds):
                for (port, process), kept in zip(servers, runs, strict=True):
                    before = cpu_seconds(process.pid)
                    load = wrk(port, plan.body, connections, plan.seconds, vary=vary)
                    kept.append(Run(load, cpu_seconds(process.pid) - before))
            figures += _figures(connections, vary, runs)
        return figures


def _start(stack: ExitStack, plan: Plan) -> list[tuple[int, Process]]:
    """kfunc, the ceiling and Flask, each answering, with their ports."""
    ports = [free_port() for _ in NAMES]
    kfunc, ceiling, flask = (f"127.0.0.1:{port}" for port in ports)
    gthread = ("-k", "gthread", "-w", "1", "--threads", "4")
    gunicorn = python("-m", "gunicorn", *gthread, "-b", flask, "bench.servers.flask_app:app")
    processes = [
        start_ready(stack, handler_command(kfunc), settings(plan.model), ports[0]),
        stack.enter_context(running(python("-m", "bench.servers.ceiling", ceiling, plan.model))),
        stack.enter_context(running(gunicorn, {"KFUNC_BENCH_MODEL": plan.model})),
    ]
    servers = list(zip(ports, processes, strict=True))
    for port, process in servers:
        wait_until(lambda port=port: answers(port, "POST", PATH, plan.body), process)  # type: ignore[misc]
    return servers


def _same_answers(ports: list[int], body: bytes) -> None:
    """Raise BenchError unless all three answer the same outputs: only then do their rates compare."""
    answered = [_outputs(port, body) for port in ports]
    if any(outputs != answered[0] for outputs in answered):
        raise BenchError(f"the servers answer differently: {answered}")


def _outputs(port: int, body: bytes) -> dict[str, tuple[str, list[int], list[float]]]:
    """Outputs by name; rounded, since an FP32 may be written with the digits of a double."""
    status, answer = call(port, "POST", PATH, body)
    if status != 200:
        raise BenchError(f"port {port} answered {status}: {answer!r}")
    outputs = msgspec.json.decode(answer)["outputs"]
    return {each["name"]: (each["datatype"], each["shape"], [round(value, 5) for value in each["data"]]) for each in outputs}


def _figures(connections: int, vary: bool, runs: list[list[Run]]) -> list[Figure]:
    rates = [[run.load.rps for run in kept] for kept in runs]
    spent = [[run.cpu_us for run in kept] for kept in runs]
    kfunc, ceiling, flask = (_seen(name, kept) for name, kept in zip(NAMES, runs, strict=True))
    bound: Bound = "≥" if connections == 16 else ""
    at = f"throughput c{connections}{', heads differ' if vary else ''}:"
    limit = f"the ceiling itself is {ratio(rates[1], rates[2]):.1f} ×"
    cpu = ", ".join(f"{name} {median(kept):.1f} µs" for name, kept in zip(NAMES, spent, strict=True))
    return [
        Figure(f"{at} kfunc / ceiling", ratio(rates[0], rates[1]), "×", bound, 0.8, f"{kfunc} · {ceiling}"),
        Figure(f"{at} kfunc / Flask", ratio(rates[0], rates[2]), "×", bound, 15.0, f"{flask} · {limit}"),
        Figure(f"{at} CPU per request, ceiling / kfunc", ratio(spent[1], spent[0]), "×", seen=cpu),
    ]


def _seen(name: str, runs: list[Run]) -> str:
    """Medians. A server that is the bottleneck has its core to itself, or the figure is disturbed."""
    rps, p50, p99 = (median(getattr(run.load, field) for run in runs) for field in ("rps", "p50_us", "p99_us"))
    core = median(run.cpu / run.load.seconds for run in runs)
    disturbed = ": DISTURBED" if core < UNDISTURBED else ""
    return f"{name} {rps:,.0f} rps, p50/p99 {p50 / 1e3:.2f}/{p99 / 1e3:.2f} ms, {core:.0%} of the core{disturbed}"
