"""Kubernetes' and OCI's rules for names, and the nearest valid name. Pure."""

import re

MAX_LABEL = 63
MAX_FUNCTION = 54
"""Of a function's name: its revisions are called NAME-xxxxxxxx."""
MAX_SUBDOMAIN = 253
LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
MAX_REPOSITORY = 255
MAX_REFERENCE = 1024  # with registry, tag and digest
# The distribution specification's grammar of a reference; the digest is sha256 only.
IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*/?")


def is_label(text: str) -> bool:
    """A DNS label as RFC 1123 has it: a namespace."""
    return len(text) <= MAX_LABEL and LABEL.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    """A DNS label as RFC 1035 has it, with a letter first: a Service."""
    return is_label(text) and text[0].isalpha()


def is_subdomain(text: str) -> bool:
    """Labels with dots between them: most names in Kubernetes."""
    return len(text) <= MAX_SUBDOMAIN and SUBDOMAIN.fullmatch(text) is not None


def is_image(text: str) -> bool:
    """A reference as registries and Knative both take it: a repository has at least two characters."""
    if len(text) > MAX_REFERENCE or not IMAGE.fullmatch(text):
        return False
    before, colon, tag = text.partition("@")[0].rpartition(":")
    name = before if colon and "/" not in tag else text.partition("@")[0]
    first, slash, rest = name.partition("/")
    repository = rest if slash and ("." in first or ":" in first) else name
    return 2 <= len(repository) <= MAX_REPOSITORY and repository == repository.lower()


def is_registry(text: str) -> bool:
    """A registry, perhaps with the first part of a repository."""
    return len(text) <= MAX_REFERENCE and REGISTRY.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """The key of a Kubernetes label or annotation, with or without a prefix."""
    prefix, slash, name = text.rpartition("/")
    return QUALIFIED.fullmatch(name) is not None and (is_subdomain(prefix) or not slash)


def is_label_value(text: str) -> bool:
    """The value of a Kubernetes label."""
    return not text or QUALIFIED.fullmatch(text) is not None


def service_name(text: str) -> str:
    """The nearest service name to any text; "function" if nothing of it can stay."""
    dashed = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if dashed and not dashed[0].isalpha():
        dashed = f"f-{dashed}"
    return dashed[:MAX_FUNCTION].rstrip("-") or "function"
