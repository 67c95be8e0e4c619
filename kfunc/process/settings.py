"""The environment of a process of the pod, its settings read from the file that KFUNC_CONFIG may name."""

import os
from collections.abc import Mapping

from kfunc.config import pod
from kfunc.errors import ConfigError, Problem


def environment() -> Mapping[str, str]:
    """What `pod.decode` reads. Settings too long for a variable are a file, and KFUNC_CONFIG is `@` and its path.

    Raises ConfigError.
    """
    value = os.environ.get(pod.VARIABLE, "")
    if not value.startswith(pod.IN_FILE):
        return os.environ
    try:
        with open(value.removeprefix(pod.IN_FILE), encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError([Problem(f"cannot read {value.removeprefix(pod.IN_FILE)}: {cause}")], pod.VARIABLE) from None
    return {**os.environ, pod.VARIABLE: text}
