"""`python -m tests.manifests.golden`: render the functions of this folder again. Read the difference before you keep it."""

from tests.manifests.golden import FOLDER, rendered, sources

for name, text in sources().items():
    (FOLDER / f"{name}.yaml").write_text(rendered(text), encoding="utf-8")
    print(f"wrote {FOLDER / name}.yaml")
