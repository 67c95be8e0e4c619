"""50,000 requests through 20 rollouts: none may fail. Each ends with pods that drain while requests are in flight.

    . ~/.cache/kfunc-cluster/env && python -m bench.rollouts --image REGISTRY/e2e/twice:1

Needs a cluster as `make e2e` does, and an image of tests/e2e/twice.
"""

import argparse
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.cluster import Namespace, of_environment, wait_until
from tests.e2e.rolling import Rolling

ROOT = Path(__file__).parents[1]
TRAFFIC = {
    "steps": [25, 100],
    "interval_s": 2,
    "propagation_s": 2,
    "analysis": {"min_requests": 20, "max_step_s": 600, "ready_timeout_s": 120, "exclude_start_s": 1, "error_rate": 0.01},
}


def kfunc(*arguments: str | Path, status: int = 0) -> str:
    """Run the command line. Raises AssertionError with what it says where it ends otherwise."""
    command = [sys.executable, "-m", "kfunc", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(command[2:])}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def through_rollouts(function: Rolling, rollouts: int, requests: int, per_second: float) -> tuple[int, list[str], float]:
    """Promotions, rollbacks and undos in turn, under load: how many requests there were, which failed, the longest time."""
    with function.requests(per_second) as counts:
        for number in range(rollouts):
            begin = time.monotonic()
            what = ("start", "undo", "abort")[number % 3]
            if what == "undo":
                function.rollout("undo", str(function.folder))
            else:
                function.write(TRAFFIC if what == "start" else TRAFFIC | {"interval_s": 100}, VERSION=f"{number + 2}")
                if what == "start":
                    function.start()
                else:
                    with function.running("start", str(function.folder)):
                        function.wait_state(phase="running")
                        function.rollout("abort", str(function.folder))
            seconds = time.monotonic() - begin
            print(
                f"{number + 1:>2} {what:<6} {seconds:5.1f} s, {counts.total} requests, {len(counts.failures)} failed",
                flush=True,
            )
        wait_until(lambda: counts.total >= requests, f"{requests} requests", 3600, 1.0)
    return counts.total, counts.failures, counts.longest


def main() -> int:
    """Run it; exit status 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", required=True)
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=80.0, help="requests a second")
    given = parser.parse_args()
    cluster = of_environment()
    namespace = Namespace(cluster, f"rollouts-{secrets.token_hex(3)}")
    cluster.kubectl("create", "namespace", namespace.name)
    try:
        with tempfile.TemporaryDirectory() as folder:
            function = Rolling(namespace, kfunc, given.image, Path(folder) / "twice", "twice")
            function.write(TRAFFIC, VERSION="1")
            function.deploy()
            total, failures, longest = through_rollouts(function, given.rollouts, given.requests, given.rate)
    finally:
        cluster.kubectl("delete", "namespace", namespace.name, "--wait=false", check=False)
    print(f"{total} requests through {given.rollouts} rollouts: {len(failures)} failed, the longest took {longest:.2f} s")
    for text in failures[:20]:
        print(f"  {text}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
