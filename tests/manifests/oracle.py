"""Knative's own webhook as a process that is asked over a pipe (tests/oracles/knative)."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from kfunc.manifests.plan import Note

FLAG = re.compile(r"needs Knative's (?:feature|setting) (\S+)")


class Oracle:
    """`errors` is what the webhook says of a manifest, empty where it accepts it."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, text: str, notes: list[Note]) -> dict[str, Any]:
        """The answer on a cluster on which only the flags are set that the notes name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        flags = [match[1] for note in notes if (match := FLAG.search(note.text))]
        self._process.stdin.write(json.dumps({"yaml": text, "features": flags}).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def errors(self, text: str, notes: list[Note]) -> str:
        """What is wrong with the manifest, in Knative's words."""
        return str(self.ask(text, notes)["errors"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(10) == 0
