"""Which wheels a function needs on a platform: pip decides and fetches them, nothing of them is installed or run here."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import msgspec
from msgspec import Struct

import kfunc
from kfunc.errors import BuildError, StartupError
from kfunc.images.hashes import COMMENT, check, hashes_of
from kfunc.images.platforms import OLDEST_GLIBC, Platform, markers, minor_version, wheel_platforms
from kfunc.images.wheels import normalized

WORKER = Path(__file__).with_name("pip_worker.py")
REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"
"""A folder beside func.yaml with wheels that no index has."""
OWN_WHEEL = f"kfunc-{kfunc.__version__}-py3-none-any.whl"
NO_PIP = 3
MOST_WORDS = 400
NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
NAMED_FILE = re.compile(r"\s*(?:(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)|((?:\.{0,2}/)\S+\.(?:whl|zip|gz)))")
"""A line that names another file."""
PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*(\S+)")
"""A package with the place that it comes from (PEP 508)."""
CREDENTIALS = re.compile(r"(://)[^/\s]*@")
"""What a URL has before its host; only what follows may be shown."""
SOURCES = ("-e", "--editable", "--no-binary")
ARCHIVES = (".gz", ".bz2", ".xz", ".tar", ".tgz", ".zip")
MAKE_WHEEL = (
    f"make a wheel of it (pip wheel --no-deps -w {WHEELS} PLACE), and name the package alone, which is found in {WHEELS}/"
)
BLAMED = re.compile(r"(?:\(constraint\)|distribution found for) ([A-Za-z0-9][A-Za-z0-9._-]*)")
"""Where pip says which packages it cannot have in their versions."""
IMPOSSIBLE = ("ResolutionImpossible", "conflicting dependencies", "No matching distribution", "Could not find a version")


class Needs(Struct, frozen=True):
    """What an image needs of an index: kfunc with extras, further requirements, and the function's own file.

    `release` is the Python's whole version, "3.11.9".
    """

    extras: tuple[str, ...]
    release: str
    platform: Platform
    packages: tuple[str, ...] = ()
    file: Path | None = None
    wheels: Path | None = None
    glibc: str = OLDEST_GLIBC

    @property
    def python(self) -> str:
        """The minor version."""
        return minor_version(self.release)


class Wheels(Struct, frozen=True):
    """What pip found: files, and the packages that came in another version than kfunc's own pin."""

    files: list[Path]
    unpinned: list[str] = []


def metadata() -> str:
    """The METADATA of the kfunc that runs here. Raises StartupError."""
    try:
        return str(distribution("kfunc").metadata)
    except PackageNotFoundError:
        raise StartupError("kfunc itself is not installed, only its files are here: pip install it, then build") from None


def pins(extras: Iterable[str] = (), free: Container[str] = ()) -> list[str]:
    """The versions that kfunc is tested with, but for `free` packages, as pip's constraints.

    Those of the extras' own environments win.
    """
    own = Path(kfunc.__file__).parent
    places = [place for place in (own.parent / "constraints", own / "images/constraints") if (place / "test.txt").is_file()]
    if not places:
        return []
    names = [*(f"runtimes/{extra}.txt" for extra in extras), "images.txt", "test.txt"]
    found: dict[str, str] = {}
    for file in (places[0] / name for name in names):
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        for line in lines:
            if "==" in line:
                found.setdefault(pinned_name(line), line)
    return sorted(line for name, line in found.items() if name not in free)


def pinned_name(line: str) -> str:
    """The package of one of the pins."""
    return normalized(line.partition("==")[0].strip())


def own_requirements(extras: Iterable[str], pinned: Iterable[str]) -> list[str]:
    """kfunc's requirements as lines for somebody else's pip, with those of the extras, each in its pinned version."""
    versions = {pinned_name(line): line.partition("==")[2].strip() for line in pinned}
    wanted, found = ["", *extras], {}
    listed = HeaderParser().parsestr(metadata()).get_all("Requires-Dist") or []
    while wanted:
        extra = wanted.pop()
        for line in listed:
            requirement, _, marker = line.partition(";")
            if (_extra_of(marker)) != extra:
                continue
            name = NAME.match(requirement)
            if name is None:
                continue
            if normalized(name[1]) == "kfunc":
                wanted += [each.strip() for each in requirement.partition("[")[2].partition("]")[0].split(",")]
                continue
            version = versions.get(normalized(name[1]))
            rest = re.sub(r"\s*(and\s+)?extra\s*==\s*['\"][^'\"]*['\"]", "", marker).strip()
            exact = f"{name[1]}=={version}" if version else requirement.strip()
            found[normalized(name[1])] = f"{exact}; {rest}" if rest else exact
    return [found[name] for name in sorted(found)]


def _extra_of(marker: str) -> str:
    found = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
    return found[1] if found else ""


def key(needs: Needs, environ: Mapping[str, str]) -> str:
    """A name for all that decides which wheels are found, but for what the index has."""
    parts = [
        metadata(),
        *pins(needs.extras),
        repr(needs.extras),
        needs.release,
        str(needs.platform),
        needs.glibc,
        repr(needs.packages),
    ]
    parts += texts_of(needs.file)
    if needs.wheels:
        parts += [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in sorted(needs.wheels.glob("*.whl"))]
    parts += [f"{name}={value}" for name, value in sorted(environ.items()) if name.startswith("PIP_")]
    for file in _settings(environ):
        parts += texts_of(file)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _settings(environ: Mapping[str, str]) -> list[Path]:
    """Where pip's own settings may stand."""
    home = Path(environ.get("HOME") or "/")
    places = [Path(each) / "pip" for each in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    places += [Path("/etc"), home / ".pip", Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip", Path(sys.prefix)]
    named = environ.get("PIP_CONFIG_FILE") or os.devnull
    return [*(place / "pip.conf" for place in places), Path(named)]


def texts_of(file: Path | None) -> list[str]:
    """What a requirements.txt says, with all that it names. Raises BuildError."""
    return list(_texts(file, set())) if file else []


def _texts(file: Path, seen: set[Path]) -> Iterator[str]:
    """A requirements.txt and the files that it names: others of its kind, constraints, wheels by their path."""
    file = file.resolve()
    if file in seen or not file.is_file():
        return
    seen.add(file)
    if file.suffix in (".whl", ".zip", ".gz"):
        yield f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}"
        return
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BuildError(f"cannot read {file}: {error.strerror}; correct its mode") from None
    yield text
    for line in text.splitlines():
        found = NAMED_FILE.match(line)
        if found:
            yield from _texts(file.parent / (found[1] or found[2]), seen)


def download(needs: Needs, folder: Path, environ: Mapping[str, str]) -> Wheels:
    """Fetch the wheels into `folder`. Raises BuildError with what pip said and what to do."""
    for line in _lines(needs.packages, needs.file):
        if is_built(line):
            shown = CREDENTIALS.sub(r"\1", line.strip())
            raise BuildError(f"{shown!r} would be built here, and kfunc takes wheels alone: {MAKE_WHEEL}")
    stub = folder / OWN_WHEEL
    write_own_wheel(stub)
    kept = pins(needs.extras, named(needs.packages, needs.file))
    target = folder / "wheels"
    done, dropped = _resolved(needs, stub, kept, target, environ)
    if done.returncode:
        raise _failed(done, needs)
    files = sorted(file for file in target.iterdir() if file.name != stub.name)
    for file in files:
        if file.suffix != ".whl":
            raise BuildError(f"{file.name} is no wheel, and nothing is built here: {MAKE_WHEEL}")
    check(files, hashes_of(texts_of(needs.file)))
    return Wheels(files, [name for name in sorted(dropped) if _is_another(name, kept, files)])


def _is_another(name: str, kept: list[str], files: list[Path]) -> bool:
    """Whether a package came in another version than the pin that had to go."""
    pinned = {pinned_name(line): line.partition("==")[2].strip() for line in kept}
    came = [file.name.split("-")[1] for file in files if normalized(file.name.partition("-")[0]) == name]
    return bool(came) and came[0] != pinned[name]


def _resolved(
    needs: Needs, stub: Path, kept: list[str], target: Path, environ: Mapping[str, str]
) -> tuple["subprocess.CompletedProcess[str]", set[str]]:
    """What pip made of it, and the packages whose pins had to go.

    The function's own requirements win over the versions that kfunc was tested with: first those that pip names, then all.
    """
    constraints = stub.with_name("pins.txt")
    dropped: set[str] = set()
    while True:
        held = [line for line in kept if pinned_name(line) not in dropped]
        constraints.write_text("\n".join(held), encoding="utf-8")
        done = _pip(needs, stub, constraints, target, environ)
        if not held or not done.returncode or not any(word in done.stderr for word in IMPOSSIBLE):
            return done, dropped
        names = {pinned_name(line) for line in held}
        blamed = {normalized(name) for name in BLAMED.findall(done.stdout + done.stderr)} & names
        dropped |= blamed or names


def _pip(
    needs: Needs, stub: Path, constraints: Path, target: Path, environ: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    abi = f"cp{needs.python.replace('.', '')}"  # of the minor version
    extras = f"[{','.join(needs.extras)}]" if needs.extras else ""
    command = ["download", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    command += ["--only-binary=:all:", "--dest", str(target)]
    command += [word for tag in wheel_platforms(needs.platform, needs.glibc) for word in ("--platform", tag)]
    command += ["--python-version", needs.release, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
    command += ["--constraint", str(constraints), f"kfunc{extras} @ {stub.as_uri()}", *needs.packages]
    command += ["--requirement", str(needs.file)] if needs.file else []
    command += ["--find-links", str(needs.wheels)] if needs.wheels else []
    told = msgspec.json.encode(markers(needs.platform, needs.release)).decode()
    return subprocess.run(
        [sys.executable, "-P", str(WORKER), told, *command],
        env={**environ, "PYTHONWARNINGS": "ignore"},
        cwd=needs.file.parent if needs.file else None,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _lines(packages: Iterable[str], file: Path | None) -> list[str]:
    """What the function itself asks for."""
    return [*packages, *(line for text in texts_of(file) for line in text.splitlines())]


def is_built(line: str) -> bool:
    """Whether a line of requirements.txt names a folder, a repository or an archive, whose own code would make the wheel."""
    text = COMMENT.sub("", line).strip()
    if text.startswith("-"):
        return text.startswith(SOURCES)
    word = found[1] if (found := PLACE.match(text)) else (text.split() or [""])[0]
    is_place = bool(found) or "/" in word or word.startswith(".") or word.endswith(ARCHIVES)
    return is_place and not re.split("[#?;]", word)[0].endswith(".whl")


def named(packages: Iterable[str], file: Path | None) -> set[str]:
    """The packages that the function itself asks for: kfunc's pins do not hold for them."""
    return {normalized(found[1]) for line in _lines(packages, file) if (found := NAME.match(line))}


def _failed(done: "subprocess.CompletedProcess[str]", needs: Needs) -> BuildError:
    if done.returncode == NO_PIP:
        return BuildError(f"pip is not installed beside kfunc, and it finds the packages: {sys.executable} -m ensurepip")
    told = CREDENTIALS.sub(r"\1", done.stderr)
    errors = [line.removeprefix("ERROR: ") for line in told.splitlines() if line.startswith("ERROR: ")]
    said = "; ".join(errors[-2:]) or (told.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    missing = re.search(r"No matching distribution found for ([^\s;]+)", said)
    if missing:
        name = re.split("[<>=!~]", missing[1])[0]
        return BuildError(
            f"there is no wheel of {missing[1]} for {needs.platform}, Python {needs.python} and glibc {needs.glibc}: choose"
            " another version, say that the base's glibc is newer (inference.build.glibc), or make one"
            f" (pip wheel --no-deps -w {WHEELS} {name}) and leave it in {WHEELS}{os.sep}"
        )
    if "DO NOT MATCH THE HASHES" in told:
        words = re.split(r"DO NOT MATCH THE HASHES[^\n]*\n", told)[1]
        return BuildError(
            f"a wheel is another one than {REQUIREMENTS} says ({' '.join(words.split())[:MOST_WORDS]}): make the hashes anew"
            " if it is the right one (pip-compile --generate-hashes), else find out who has changed it"
        )
    if "No space left on device" in told:
        return BuildError(f"{tempfile.gettempdir()} has no space for the packages: make room, or set TMPDIR to another folder")
    if "--require-hashes" in told:
        return BuildError(
            f"{REQUIREMENTS} or pip's own settings say --require-hashes, and kfunc's own packages have none: leave that out;"
            " the hashes that are there are checked all the same"
        )
    place = f"; it was asked for {REQUIREMENTS} as well" if needs.file else ""
    return BuildError(f"pip finds no packages for {needs.platform}: {said}{place}")


def write_own_wheel(path: Path, modules: Mapping[str, Path] | None = None) -> None:
    """A wheel of kfunc: its metadata, so that pip finds what it needs, and these files by their names in it."""
    info = f"kfunc-{kfunc.__version__}.dist-info"
    texts = {
        "METADATA": metadata(),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: kfunc\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with ZipFile(path, "w") as archive:
        for name, file in (modules or {}).items():
            archive.writestr(ZipInfo(name), file.read_bytes())
        for name, text in texts.items():
            archive.writestr(ZipInfo(f"{info}/{name}"), text)
        names = [*(modules or {}), *(f"{info}/{name}" for name in [*texts, "RECORD"])]
        archive.writestr(ZipInfo(f"{info}/RECORD"), "".join(f"{name},,\n" for name in names))
