"""Takes secrets out of what is handed to somebody else: objects and texts. Pure."""

import re
from typing import Any

from kfunc.manifests.plan import Manifest

HIDDEN = "<redacted>"
SECRET_NAME = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|credential|api_?key|access_?key|private_?key|auth(?!or)|cookie|dsn)"
)
"""Names of variables and fields whose values are nobody's business."""
LONGEST_PUBLIC = 3
"""A secret of fewer characters cannot be told from other words."""
IN_TEXT = (
    (re.compile(r"(?i)(authorization\"?\s*[:=]\s*\"?(?:bearer|basic)?\s*)[^\s\",;]+"), r"\1" + HIDDEN),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1" + HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"\b(?:ghp|gho|ghs|hf|glpat|xox[abp])[_-][A-Za-z0-9_-]{16,}\b"), HIDDEN),
    (re.compile(r"(?i)(\w+://[^\s/:@\"']*:)[^\s/@\"']+(@)"), r"\1" + HIDDEN + r"\2"),
    (
        re.compile(r"(?i)((?:password|passwd|secret|token|api_?key|access_?key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&}]+"),
        r"\1" + HIDDEN,
    ),
    (re.compile(r"(?i)([?&](?:x-amz-signature|x-amz-credential|sig|signature)=)[^\s&\"']+"), r"\1" + HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
)
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Redactor:
    """Hides what looks like a secret, and the values that are known to be some."""

    def __init__(self, known: set[str]) -> None:
        self._known = sorted((value for value in known if len(value) > LONGEST_PUBLIC), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Lines of a log, of metrics, a message."""
        for value in self._known:
            text = text.replace(value, HIDDEN)
        for pattern, shown in IN_TEXT:
            text = pattern.sub(shown, text)
        return text

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
            return self.text(value)
        if isinstance(value, list):
            return [self.value(each) for each in value]
        if not isinstance(value, dict):
            return value
        # A variable of a container: its name says what its value is.
        if isinstance(value.get("value"), str) and SECRET_NAME.search(str(value.get("name", ""))):
            value = {**value, "value": HIDDEN}
        return {
            key: HIDDEN if isinstance(each, str) and each and _is_secret(key) else self.value(each)
            for key, each in value.items()
        }


def _is_secret(key: str) -> bool:
    """Whether a field holds a secret; one that only names a Secret does not."""
    return bool(SECRET_NAME.search(key)) and not key.lower().endswith(
        ("name", "ref", "secret", "secrets", "mounttoken", "policy")
    )


def secret_names(pods: list[Manifest]) -> set[str]:
    """The Secrets that pods take variables or files from."""
    found: set[str] = set()
    for pod in pods:
        spec = pod["spec"]
        for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
            found |= {each["valueFrom"]["secretKeyRef"]["name"] for each in container.get("env") or [] if _takes_secret(each)}
            found |= {each["secretRef"]["name"] for each in container.get("envFrom") or [] if each.get("secretRef")}
        found |= {each["secret"]["secretName"] for each in spec.get("volumes") or [] if each.get("secret")}
        for volume in spec.get("volumes") or []:
            sources = (volume.get("projected") or {}).get("sources") or []
            found |= {source["secret"]["name"] for source in sources if source.get("secret")}
        found |= {each["name"] for each in spec.get("imagePullSecrets") or []}
    return found


def _takes_secret(variable: Manifest) -> bool:
    return bool((variable.get("valueFrom") or {}).get("secretKeyRef"))
