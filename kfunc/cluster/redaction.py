"""Takes secrets out of what is handed to somebody else: objects and texts. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from kfunc.cluster.credentials import HIDDEN, SECRET_NAME, hide, is_secret, takes_secret
from kfunc.manifests.plan import Manifest

LONGEST_PUBLIC = 3
"""A secret of fewer characters cannot be told from other words."""
MATCHES = {"exact", "prefix", "regex"}  # as Istio's routes ask for header fields
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Redactor:
    """Hides what looks like a secret, and the values that are known to be some."""

    def __init__(self, known: set[str]) -> None:
        self._known = sorted((value for value in known if len(value) > LONGEST_PUBLIC), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Lines of a log, of metrics, a message."""
        for value in self._known:
            text = text.replace(value, HIDDEN)
        return hide(text)

    def manifest(self, manifest: Manifest) -> Manifest:
        """An object; of a Secret only its keys are left."""
        if manifest.get("kind") == "Secret":
            manifest = {
                **manifest,
                **{part: dict.fromkeys(manifest.get(part) or {}, HIDDEN) for part in ("data", "stringData")},
            }
        about = {key: value for key, value in manifest.get("metadata", {}).items() if key != "managedFields"}
        if LAST_APPLIED in (about.get("annotations") or {}):
            about["annotations"] = {key: value for key, value in about["annotations"].items() if key != LAST_APPLIED}
        cleaned: Manifest = self.value({**manifest, "metadata": about})
        return cleaned

    def value(self, value: Any) -> Any:
        """What JSON can hold, and what is in it."""
        if isinstance(value, str):
            return self.text(self._json(value))
        if isinstance(value, list):
            return list(self._items(value))
        if not isinstance(value, dict):
            return value
        # A variable of a container, a header: its name says what its value is.
        if isinstance(value.get("value"), str) and SECRET_NAME.search(str(value.get("name", ""))):
            value = {**value, "value": HIDDEN}
        return {key: self._secret(each) if is_secret(key) else self.value(each) for key, each in value.items()}

    def _json(self, text: str) -> str:
        """A text that is JSON, as a rollout's record and KFUNC_CONFIG are: what is in it has names of its own."""
        if not text.lstrip().startswith(("{", "[")):
            return text
        try:
            read = msgspec.json.decode(text)
            cleaned = self.value(read)
        except (msgspec.DecodeError, RecursionError):
            return text
        return text if cleaned == read else msgspec.json.encode(cleaned).decode()

    def _secret(self, value: Any) -> Any:
        """What a field holds whose name says that it is secret: a text, some, or what a text must match."""
        if isinstance(value, str):
            return HIDDEN if value else value
        if isinstance(value, list):
            return [self._secret(each) if isinstance(each, str) else self.value(each) for each in value]
        if isinstance(value, dict) and value.keys() <= MATCHES:
            return {key: self._secret(each) for key, each in value.items()}
        return self.value(value)

    def _items(self, items: list[Any]) -> Iterator[Any]:
        """The arguments of a command may be among them: a flag, and what is meant for it."""
        asked = False
        for item in items:
            given = asked and isinstance(item, str) and not item.startswith("--")
            yield HIDDEN if given else self.value(item)
            asked = not given and isinstance(item, str) and takes_secret(item)
