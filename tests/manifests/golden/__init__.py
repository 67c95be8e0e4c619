"""Functions with the manifests that they are known to give: NAME.func.yaml and NAME.yaml."""

from pathlib import Path

from kfunc.manifests.outputs import render, text
from kfunc.manifests.plan import Release
from tests.manifests import plan_of

FOLDER = Path(__file__).parent
OPTIONS = "# --stable "


def sources() -> dict[str, str]:
    """The functions by their names."""
    return {path.name.removesuffix(".func.yaml"): path.read_text() for path in sorted(FOLDER.glob("*.func.yaml"))}


def release_of(source: str) -> Release:
    """What a first line `# --stable REVISION [--weight PERCENT]` gives on the command line."""
    if not source.startswith(OPTIONS):
        return Release()
    stable, _, weight = source.partition("\n")[0].removeprefix(OPTIONS).partition(" --weight ")
    return Release(stable=stable, weight=int(weight) if weight else None)


def rendered(source: str) -> str:
    """All that `kfunc render` makes of a function: each file after its path, then what it says."""
    result = render(plan_of(source, release_of(source)))
    files = [f"## {path}\n{text(manifests)}" for path, manifests in result.files.items()]
    notes = [f"## note: {note.text}\n" for note in result.notes] + [f"## url: {url}\n" for url in result.urls]
    return "".join(files + notes)
