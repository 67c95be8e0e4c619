"""What is off in Knative until somebody sets it: which field needs it, and the command that does. Pure."""

import re
from collections.abc import Mapping

from kfunc.manifests.plan import Note

PATCH = 'kubectl patch configmap %s -n knative-serving --type merge -p \'{"data":{"%s":"%s"}}\''
INITIAL_SCALE_ZERO = "allow-zero-initial-scale"


def feature(flag: str, field: str) -> Note:
    """The note for a field of func.yaml that Knative takes only with a feature flag."""
    return Note(f"{field} needs Knative's feature {flag}", PATCH % ("config-features", flag, "enabled"), setting=True)


def autoscaler_setting(name: str, field: str) -> Note:
    """The note for a field that the autoscaler's configuration must allow."""
    return Note(f"{field} needs Knative's setting {name}", PATCH % ("config-autoscaler", name, "true"), setting=True)


PATCHED = re.compile(r'patch configmap (\S+) .*"data":\{"([^"]+)":"([^"]+)"\}')


def setting_of(note: Note) -> tuple[str, str, str] | None:
    """The ConfigMap, key and value that a note's command sets; None for a note that is no setting."""
    found = PATCHED.search(note.command) if note.setting else None
    return (found[1], found[2], found[3]) if found else None


def still_needed(notes: list[Note], settings: Mapping[str, Mapping[str, str]]) -> list[Note]:
    """The notes whose settings a cluster does not have; `settings` are its ConfigMaps' data by name."""
    return [
        note
        for note in notes
        if (wanted := setting_of(note)) and settings.get(wanted[0], {}).get(wanted[1], "").lower() not in (wanted[2], "allowed")
    ]
