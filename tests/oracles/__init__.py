"""Programs that say whether a cluster would take a manifest: made of what the cluster itself runs (tests.parts builds them)."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kfunc.manifests.yaml_text import write


class Oracle:
    """A running oracle: a manifest a line in, its complaints and the manifest as it was read a line out."""

    def __init__(self, program: Path, *arguments: Path) -> None:
        self._process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def complaints(self, manifest: Any) -> list[str]:
        """What it has against the manifest as we write it; an empty list is approval."""
        return self.answer(write(manifest), manifest)

    def answer(self, question: Any, manifest: Any) -> list[str]:
        """What it has against a manifest that is asked about in a form of its own."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        said: list[str] = answer["complaints"]
        return said if answer["value"] == manifest else ["it is read as something else", *said]

    def all_complaints(self, manifests: Iterable[Any]) -> list[str]:
        """Of several manifests, each with kind and name."""
        return [
            f"{manifest['kind']} {manifest['metadata']['name']}: {said}"
            for manifest in manifests
            for said in self.complaints(manifest)
        ]

    def close(self) -> None:
        """End it. It ends by itself at the end of its input."""
        self._process.communicate()
