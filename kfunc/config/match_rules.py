"""Rules for the matches of an A/B test: one way to compare each text, expressions that Envoy reads, no match twice."""

import re
from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.re2 import MAX_LENGTH, is_re2
from kfunc.config.traffic import CookieMatch, Match, TextMatch
from kfunc.config.traffic_rules import TRAFFIC, labels_are_labels

HEADER = re.compile(r"[-_a-z0-9]{1,256}")
COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{0,256}")
MAX_TEXT = 256


def matches_can_match(function: Function) -> Iterator[Finding]:
    """Each has a condition, and is not one that an earlier one has already decided."""
    traffic = function.inference.traffic
    if traffic is UNSET:
        return
    seen: list[Match] = []
    for number, variant in enumerate(traffic.variants):
        for position, match in enumerate(variant.match):
            path: FieldPath = (*TRAFFIC, "variants", number, "match", position)
            if match == Match():
                yield Finding(path, "a match without a condition matches nothing", "add headers, cookie, query or source")
            elif match in seen:
                yield Finding(path, "the same match stands before, and the first one wins", "remove one of them")
            seen.append(match)
            yield from _match(match, path)


def _match(match: Match, path: FieldPath) -> Iterator[Finding]:
    for name, text in match.headers.items():
        where: FieldPath = (*path, "headers", name)
        if not HEADER.fullmatch(name):
            suggestion = f"did you mean {show_text(name.lower())}?" if HEADER.fullmatch(name.lower()) else ""
            yield Finding(where, f"expected a header's name in lower case, found {show_text(name)}", suggestion, at_key=True)
        elif name == "host":
            yield Finding(where, "the host is no header to match", "traffic.hosts names hosts", at_key=True)
        elif name == "cookie" and match.cookie is not UNSET:
            yield Finding(where, "cookie and headers.cookie match the same header", "keep one of them", at_key=True)
        yield from _text(text, where)
    for name, text in match.query.items():
        if not name or len(name) > MAX_TEXT or not name.isprintable():
            message = f"expected the name of a query parameter, found {show_text(name)}"
            yield Finding((*path, "query", name), message, at_key=True)
        yield from _text(text, (*path, "query", name))
    if match.cookie is not UNSET:
        yield from _cookie(match.cookie, (*path, "cookie"))
    if match.source is not UNSET:
        if match.source.namespace is UNSET and not match.source.labels:
            yield Finding((*path, "source"), "a source without namespace and labels is everybody", "add namespace: …")
        yield from labels_are_labels(match.source.labels, (*path, "source", "labels"))


def _text(text: TextMatch, path: FieldPath) -> Iterator[Finding]:
    given = [(key, value) for key in ("exact", "prefix", "regex") if (value := getattr(text, key)) is not UNSET]
    if len(given) != 1:
        yield Finding(path, f"expected one of exact, prefix, regex, found {len(given) or 'none'}", 'such as {exact: "beta"}')
    for key, value in given:
        if key == "regex" and not is_re2(value):
            message = f"expected a regular expression of RE2 with at most {MAX_LENGTH} characters, found {show_text(value)}"
            yield Finding((*path, key), message, "it has no lookaround and no references")
        elif key != "regex" and (not value or len(value) > MAX_TEXT or not value.isprintable()):
            yield Finding((*path, key), f"expected 1 to {MAX_TEXT} printable characters, found {show_text(value)}")


def _cookie(cookie: CookieMatch, path: FieldPath) -> Iterator[Finding]:
    if not COOKIE_NAME.fullmatch(cookie.name):
        yield Finding((*path, "name"), f"expected a cookie's name, found {show_text(cookie.name)}")
    if not COOKIE_VALUE.fullmatch(cookie.value):
        message = f"expected a cookie's value: at most {MAX_TEXT} characters without spaces, commas and semicolons"
        yield Finding((*path, "value"), f"{message}, found {show_text(cookie.value)}")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (matches_can_match,)
