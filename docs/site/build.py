"""`python -m docs.site.build DIR`: what mkdocs needs, in DIR: the written pages, the reference from the code, its settings."""

import json
import re
import shutil
import sys
from pathlib import Path

from docs.site import commands, events, metrics, settings

ROOT = Path(__file__).parents[2]
REFERENCE = {"commands": commands.page, "func-yaml": settings.page, "metrics": metrics.page, "events": events.page}
LINK = re.compile(r"\]\((?!https?://|#)([^)#]*)(#[^)]*)?\)")


FIRST, LAST = ["tutorial.md"], ["from-kserve.md", "comparison.md"]


def write_all(into: Path) -> None:
    """`mkdocs.yml` in `into`, and the pages in its `docs-source`."""
    write_sources(into / "docs-source")
    settings_text = (ROOT / "docs/site/mkdocs.yml").read_text(encoding="utf-8")
    navigation = json.dumps(nav(into / "docs-source"), ensure_ascii=False)  # JSON is YAML
    (into / "mkdocs.yml").write_text(f"{settings_text}nav: {navigation}\n", encoding="utf-8")


def nav(sources: Path) -> list[object]:
    """Tutorial, how-tos by their titles, reference, and what is for those who come from elsewhere."""
    fixed = ["index.md", *FIRST, *LAST]
    how_to = [page for page in sources.glob("*.md") if page.name not in fixed]
    reference = [{title(sources / "reference" / f"{name}.md"): f"reference/{name}.md"} for name in REFERENCE]
    return [
        {"Home": "index.md"},
        *({title(sources / name): name} for name in FIRST),
        {"How to": sorted(({title(page): page.name} for page in how_to), key=lambda entry: next(iter(entry)))},
        {"Reference": reference},
        *({title(sources / name): name} for name in LAST),
    ]


def title(page: Path) -> str:
    """A page's first heading."""
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").replace("`", "")


def write_sources(into: Path) -> None:
    """All pages, in `into`."""
    shutil.rmtree(into, ignore_errors=True)
    (into / "reference").mkdir(parents=True)
    (into / "index.md").write_text(rewritten((ROOT / "README.md").read_text(), ""), encoding="utf-8")
    for page in sorted((ROOT / "docs").glob("*.md")):
        (into / page.name).write_text(rewritten(page.read_text(), "docs/"), encoding="utf-8")
    for name, make in REFERENCE.items():
        (into / "reference" / f"{name}.md").write_text(make(), encoding="utf-8")


def rewritten(text: str, folder: str) -> str:
    """Links between pages as they are on the site; what is only in the repository is named, and not linked."""

    def link(match: re.Match[str]) -> str:
        path, anchor = match[1], match[2] or ""
        if folder and path.startswith("../"):
            path = path.removeprefix("../")
        elif folder:
            path = folder + path
        if path == "README.md":
            return f"](index.md{anchor})"
        if path.startswith("docs/") and path.endswith(".md"):
            return f"]({path.removeprefix('docs/')}{anchor})"
        return f'](#in-the-repository "{path} in the repository")'

    linked = LINK.sub(link, text)
    return re.sub(r"\[([^\]]*)\]\(#in-the-repository \"([^\"]*) in the repository\"\)", r"\1 (`\2` in the repository)", linked)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
