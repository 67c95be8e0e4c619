"""Knative's webhook: it is asked with the feature flags that are on."""

import re

from kfunc.manifests.plan import Manifest, Note
from kfunc.manifests.yaml_text import write
from tests.oracles import Oracle

FLAG = re.compile(r"needs Knative's (?:feature|setting) (\S+)")


class Webhook(Oracle):
    """SetDefaults and Validate of a Service."""

    def on(self, service: Manifest, notes: list[Note]) -> list[str]:
        """What it has against a Service on a cluster where just the flags are set that the notes name."""
        flags = [match[1] for note in notes if (match := FLAG.search(note.text))]
        return self.answer({"yaml": write(service), "features": flags}, service)
