"""The Secrets and ConfigMaps that pods take variables and files from, and the forms that a Secret's values take. Pure."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from kfunc.manifests.plan import Manifest

SHORTEST_PART = 8
"""A line or an inner value of a Secret that has fewer characters cannot be told from other words."""
PUBLIC = {"true", "false", "null", "none"}


class Named(NamedTuple):
    """Names, all of one namespace."""

    secrets: set[str]
    config_maps: set[str]


def named_by(specs: Iterable[Manifest]) -> Named:
    """What specifications of pods name, wherever they do."""
    found = Named(set(), set())
    for spec in specs:
        found.secrets.update(each["name"] for each in spec.get("imagePullSecrets") or [])
        for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
            sources = [each.get("valueFrom") or {} for each in container.get("env") or []]
            sources += container.get("envFrom") or []
            for source in sources:
                found.secrets.update(source[kind]["name"] for kind in ("secretKeyRef", "secretRef") if source.get(kind))
                found.config_maps.update(
                    source[kind]["name"] for kind in ("configMapKeyRef", "configMapRef") if source.get(kind)
                )
        for volume in spec.get("volumes") or []:
            for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
                if source.get("secret"):
                    found.secrets.add(source["secret"].get("secretName") or source["secret"]["name"])
                if source.get("configMap"):
                    found.config_maps.add(source["configMap"]["name"])
    return found


def values_of(secret: Manifest) -> set[str]:
    """The values of a Secret as logs may show them: whole, by lines, and what is in JSON; also as JSON and in URLs."""
    values: set[str] = set()
    for encoded in (secret.get("data") or {}).values():
        try:
            text = base64.b64decode(encoded).decode(errors="replace")
        except (binascii.Error, ValueError):
            continue
        values |= {str(encoded), *_parts(text)}
    written = {form for value in values for form in _written(value)}
    return {value for value in values | written if value.lower() not in PUBLIC}


def _parts(text: str) -> Iterator[str]:
    yield text
    yield text.strip()
    lines = [line.strip() for line in text.splitlines()]
    inner = [*(lines if len(lines) > 1 else ()), *_leaves(_json(text))]
    yield from (part for part in inner if len(part) >= SHORTEST_PART)


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any) -> Iterator[str]:
    """The texts in JSON, with the lines of those that have some."""
    if isinstance(value, str):
        yield value
        yield from (line.strip() for line in value.splitlines()[1:])
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)


def _written(value: str) -> Iterator[str]:
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value)
    yield quote(value, safe="")
    yield quote_plus(value)
