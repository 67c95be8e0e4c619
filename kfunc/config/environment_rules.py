"""Rules for environment variables: names that are taken, templates that say nothing, overrides that name no setting."""

import re
from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config import pod
from kfunc.config.complete import complete
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Env, Function
from kfunc.errors import ConfigError

# Set by Knative, or by kfunc itself.
RESERVED = {
    "K_SERVICE": "Knative sets it",
    "K_REVISION": "Knative sets it",
    "K_CONFIGURATION": "Knative sets it",
    "PORT": "Knative sets it",
    pod.VARIABLE: "it is made from this file",
}
MAX_VARIABLE_BYTES = 128 * 1024
ENV_FORM = re.compile(r"\{\{\s*env:\w+\s*\}\}")
WHOLE_FORM = re.compile(r"\{\{\s*(?:secret|configMap):[-.\w]+\s*\}\}")
KEY_FORM = re.compile(r"\{\{\s*(?:secret|configMap):[-.\w]+:[-._a-zA-Z0-9]+\s*\}\}")
FORMS = '"{{ env:NAME }}", "{{ secret:NAME:KEY }}" or "{{ configMap:NAME:KEY }}"'


def run_variables_are_settable(function: Function) -> Iterator[Finding]:
    """Each has a name that is free, once, and a value."""
    yield from _variables(function.run.envs, ("run", "envs"))
    for number, env in enumerate(function.run.envs):
        path: FieldPath = ("run", "envs", number)
        if env.name is not UNSET and env.name in RESERVED:
            yield Finding((*path, "name"), f"{env.name} is reserved: {RESERVED[env.name]}", "use another name")
        if env.value is UNSET:
            continue
        if env.name is not UNSET and len(f"{env.name}={env.value}".encode()) >= MAX_VARIABLE_BYTES:
            message = f"Linux has no variable of more than {MAX_VARIABLE_BYTES} bytes"
            yield Finding((*path, "value"), message, "mount it as a file: a ConfigMap in run.volumes")
        if env.name is UNSET and not WHOLE_FORM.fullmatch(env.value):
            message = 'without a name, expected "{{ secret:NAME }}" or "{{ configMap:NAME }}"'
            yield Finding(path, f"{message}, found {show_text(env.value)}", "add name: …")
        if (
            env.name is not UNSET
            and env.value.startswith("{{")
            and not (ENV_FORM.fullmatch(env.value) or KEY_FORM.fullmatch(env.value))
        ):
            yield Finding((*path, "value"), f"expected {FORMS}, found {show_text(env.value)}")


def build_variables_are_settable(function: Function) -> Iterator[Finding]:
    """There are no Secrets or ConfigMaps while an image is built."""
    yield from _variables(function.build.build_envs, ("build", "buildEnvs"))
    for number, env in enumerate(function.build.build_envs):
        path: FieldPath = ("build", "buildEnvs", number)
        if env.value is not UNSET and env.name is UNSET:
            yield Finding(path, "an environment variable needs a name", "add name: …")
        if env.value is not UNSET and env.value.startswith("{{") and not ENV_FORM.fullmatch(env.value):
            yield Finding((*path, "value"), f'expected text or "{{{{ env:NAME }}}}", found {show_text(env.value)}')


def _variables(envs: list[Env], path: FieldPath) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for number, env in enumerate(envs):
        if env.value is UNSET:
            yield Finding((*path, number), "an environment variable needs a value", 'add value: "…"')
        if env.name is UNSET:
            continue
        if env.name in seen:
            message = f"{show_text(env.name)} is already set in entry [{seen[env.name]}]"
            yield Finding((*path, number, "name"), message, "keep one of the two")
        seen.setdefault(env.name, number)


def overrides_name_settings(function: Function) -> Iterator[Finding]:
    """The pod reads `KFUNC_…` beside its configuration and would not start with one that it cannot use."""
    try:
        settings = pod.encode(complete(function, "auto"))
    except ConfigError as error:
        yield Finding(("inference",), error.problems[0].message, "shorten its longest text")
        return
    for number, env in enumerate(function.run.envs):
        if env.name is UNSET or env.value is UNSET or not env.name.startswith("KFUNC_") or env.name == pod.VARIABLE:
            continue
        if env.value.startswith("{{"):
            continue
        try:
            pod.decode({pod.VARIABLE: settings, env.name: env.value})
        except ConfigError as error:
            problem = error.problems[0]
            path: FieldPath = ("run", "envs", number, "value")
            yield Finding(path, f"{env.name} overrides a setting: {problem.message}", problem.suggestion)


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    run_variables_are_settable,
    build_variables_are_settable,
    overrides_name_settings,
)
