"""`make test-runtimes`: each runtime's tests in an environment of its own, made of constraints/runtimes/NAME.txt.

`python -m tests.runtimes [NAME…] [-- ARGUMENTS OF PYTEST]`; `--light` are those that `make test` runs, and `--pin` writes
the constraints anew. Of the standard library only: it runs before there is any environment.
"""

import os
import subprocess
import sys
import time
import tomllib
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "constraints" / "runtimes"
ENVIRONMENTS = ROOT / ".venv-runtimes"
BUILD = "constraints/build.txt"
VARIABLE = "KFUNC_TEST_RUNTIME"  # tests/runtimes/conftest.py collects this runtime's file and no other

LIGHT = ("lightgbm", "xgboost")
"""Seconds each, with their installation: all of them together stay below two minutes on a new machine."""


GUESTS = {"torch": "huggingface"}
"""Runtimes that are tested in the environment of another, which has all that they need: PyTorch takes 6 GB."""


def names() -> list[str]:
    """Everything that has tests."""
    return sorted({each.stem for each in PINS.glob("*.in")} | GUESTS.keys())


def python(name: str) -> Path:
    """The environment's interpreter."""
    return ENVIRONMENTS / name / "bin" / "python"


def project() -> dict[str, Any]:
    """What pyproject.toml says of kfunc."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def extras() -> dict[str, list[str]]:
    """kfunc's extras; somebody's own server needs none."""
    found: dict[str, list[str]] = project()["optional-dependencies"]
    return found


def ready(name: str) -> Path:
    """A file that stands in a complete environment, named by the checksum of all that went into it."""
    content = repr((str(ROOT), sys.version, project()["dependencies"], extras().get(name))).encode()
    for each in (ROOT / BUILD, PINS / f"{name}.txt"):
        content += each.read_bytes()
    return ENVIRONMENTS / name / f"ready-{zlib.crc32(content):08x}"


def install(name: str, requirements: Path) -> None:
    """A new environment with kfunc, the extra of this name if there is one, and the requirements."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENTS / name], check=True)
    what = ["-r", str(requirements), "-e", f".[{name}]" if name in extras() else "."]
    # The constraints of the build backend reach pip's isolated build by variables, one for older and one for newer pips.
    variables = {"PIP_CONSTRAINT": BUILD, "PIP_BUILD_CONSTRAINT": BUILD}
    pip = [str(python(name)), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *what], cwd=ROOT, env=os.environ | variables, check=True)


def prepare(name: str) -> None:
    """Make the environment, unless it is there."""
    if not ready(name).exists():
        print(f"setting up {ENVIRONMENTS.name}/{name} (once)", flush=True)
        install(name, PINS / f"{name}.txt")
        ready(name).touch()


def pin(name: str) -> None:
    """Write constraints/runtimes/NAME.txt: the newest versions of what NAME.in and the extra ask for."""
    print(f"constraints/runtimes/{name}.txt", flush=True)
    source = PINS / f"{name}.in"
    install(name, source)
    freeze = [str(python(name)), "-m", "pip", "freeze", "--exclude", "kfunc", "--exclude", "pip", "--exclude", "setuptools"]
    frozen = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
    options = [line for line in source.read_text().splitlines() if line.startswith("-")]  # an index of its own
    (PINS / f"{name}.txt").write_text("".join(f"{line}\n" for line in options) + frozen)


def test(name: str, arguments: list[str]) -> bool:
    """Whether the runtime's tests passed."""
    began_at = time.monotonic()
    home = GUESTS.get(name, name)
    try:
        prepare(home)
    except subprocess.CalledProcessError:
        print(f"runtime {name}: its environment could not be made", flush=True)
        return False
    command = [str(python(home)), "-m", "pytest", "--quiet", f"tests/runtimes/test_{name}.py", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=os.environ | {VARIABLE: name}).returncode
    print(f"runtime {name}: {'good' if status == 0 else 'FAILED'}, {time.monotonic() - began_at:.0f} s", flush=True)
    return status == 0


def main(arguments: list[str]) -> int:
    """The exit status: 2 for a name that there is not."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [each for each in arguments[:end] if each.startswith("--")]
    chosen = [each for each in arguments[:end] if each not in options] or (LIGHT if "--light" in options else names())
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        print(f"no runtime {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    if "--pin" in options:
        for name in sorted({GUESTS.get(name, name) for name in chosen}):
            pin(name)
        return 0
    failed = [name for name in chosen if not test(name, arguments[end + 1 :])]
    if failed:
        print(f"runtimes that failed: {', '.join(failed)}", flush=True)
    elif left := sorted(set(names()) - set(chosen)):
        print(f"runtimes not tested now: {', '.join(left)} (make test-runtimes)", flush=True)
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
