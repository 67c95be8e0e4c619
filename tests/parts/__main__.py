"""`python -m tests.parts [--heavy] [NAME …]`: fetch what is missing. What cannot be had is named, and the tests skip it."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zlib import crc32

from tests.parts import CACHE, PARTS, ROOT, Part, folder

INSTALLED = "Inst "


class Missing(Exception):
    """The part cannot be had here; the message says why."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.parts", description=__doc__)
    parser.add_argument("--heavy", action="store_true", help="those that take minutes, too")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    arguments = parser.parse_args()
    names = arguments.names or [name for name, part in PARTS.items() if arguments.heavy or not part.heavy]
    missing = [name for name in names if not there(name) and not fetch(name)]
    return 1 if missing and os.environ.get("CI") == "true" else 0


def there(name: str) -> bool:
    """Whether the part is here, in the version that is asked for."""
    stamp = folder(name) / ".part"
    return stamp.is_file() and stamp.read_text() == version(PARTS[name])


def version(part: Part) -> str:
    """What the part is made from; of a program of this repository, its sources as well."""
    sources = sorted((ROOT / part.go).glob("*")) if is_own(part) else []
    return repr(part) + "".join(f" {file.name}:{crc32(file.read_bytes())}" for file in sources)


def is_own(part: Part) -> bool:
    return bool(part.go) and "@" not in part.go


def fetch(name: str) -> bool:
    """Fetch one part; False, with a line that says why, where it cannot be had."""
    part = PARTS[name]
    print(f"{'building' if is_own(part) else 'fetching'} {name}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{name}-") as made:
        into = Path(made) / name
        into.mkdir()
        try:
            if part.go:
                build(part.go, into / part.program)
            elif part.files:
                copy(part.files, into)
            elif part.maven:
                collect(part.maven, into)
            elif part.npm:
                install(part.npm, into)
            else:
                unpack(part.debian, into)
            if not (into / part.program).exists():
                raise Missing(f"{part.program} is not in it")
        except (Missing, OSError, subprocess.CalledProcessError) as error:
            print(f"skipped: {name}: {reason(error)}; tests that need it are skipped", file=sys.stderr, flush=True)
            return False
        (into / ".part").write_text(version(part))
        shutil.rmtree(folder(name), ignore_errors=True)
        into.rename(folder(name))
    return True


def reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return f"{error.cmd[0]}: {lines[-1] if lines else error.returncode}"
    return str(error)


def run(*command: str, folder: Path = ROOT, **environment: str) -> str:
    """What the command prints. Raises CalledProcessError with what it complained of."""
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, check=True, capture_output=True, text=True)
    return done.stdout


def build(source: str, program: Path) -> None:
    """A Go program, from the module proxy or from a folder of this repository."""
    if shutil.which("go") is None:
        raise Missing("it is a Go program, and there is no go here (on Debian: apt-get install golang)")
    if "@" not in source:
        made = [str(program), "."] if any((ROOT / source).glob("*.go")) else [f"{program.parent}/", "tool"]
        run("go", "build", "-o", *made, folder=ROOT / source, CGO_ENABLED="0")  # static: it runs in any image
        return
    with tempfile.TemporaryDirectory() as path:
        run("go", "install", source, GOBIN=path)
        shutil.move(next(Path(path).iterdir()), program)


def copy(files: tuple[str, ...], into: Path) -> None:
    """Files of Go modules."""
    if shutil.which("go") is None:
        raise Missing("it is in a Go module, and there is no go here (on Debian: apt-get install golang)")
    for file in files:
        module, _, path = file.partition(":")
        told = json.loads(run("go", "mod", "download", "-json", module, folder=into))
        shutil.copy(Path(told["Dir"]) / path, into)


def unpack(packages: tuple[str, ...], into: Path) -> None:
    """Debian's packages, with those that they need and this machine lacks, side by side in one folder."""
    if shutil.which("apt-get") is None:
        raise Missing("it comes from Debian's packages, and there is no apt-get here")
    plan = simulate(packages)
    needed = [line.split()[1] for line in plan.splitlines() if line.startswith(INSTALLED)]
    with tempfile.TemporaryDirectory() as path:
        run("apt-get", "download", "--quiet=2", *dict.fromkeys([*needed, *packages]), folder=Path(path))
        for file in sorted(Path(path).glob("*.deb")):
            run("dpkg-deb", "-x", str(file), str(into))


PROJECT = """<project><modelVersion>4.0.0</modelVersion><groupId>kfunc</groupId><artifactId>part</artifactId>
<version>1</version><dependencies><dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
</dependency></dependencies></project>"""


def collect(artifact: str, into: Path) -> None:
    """A Java program: its jar and those that it needs, side by side in one folder."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise Missing(f"it is a Java program, and there is no {program} here (on Debian: apt-get install maven)")
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / "pom.xml").write_text(PROJECT.format(*artifact.split(":")))
        goal = ("dependency:copy-dependencies", f"-DoutputDirectory={into}", "-DincludeScope=runtime")
        run("mvn", "--batch-mode", "--quiet", *goal, folder=Path(path))


def install(package: str, into: Path) -> None:
    """A program for Node.js, with its packages."""
    if shutil.which("npm") is None:
        raise Missing("it comes from npm's registry, and there is no npm here (on Debian: apt-get install npm)")
    run("npm", "install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", f"--prefix={into}", package, folder=into)


def simulate(packages: tuple[str, ...]) -> str:
    """What installing them would do; where Debian's lists are not here, they are fetched (that needs root)."""
    command = ["apt-get", "install", "--simulate", "--quiet=2", "--no-install-recommends", *packages]
    try:
        return run(*command)
    except subprocess.CalledProcessError:
        if os.geteuid():
            raise
        run("apt-get", "update", "--quiet=2")
        return run(*command)


if __name__ == "__main__":
    sys.exit(main())
