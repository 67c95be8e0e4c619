"""What the lines of a container's log say: text or JSON lines, kfunc's own errors at start. Pure."""

import re

import msgspec
from msgspec import Struct

MOST_LINES, MOST_WIDTH = 10, 400
ERROR = "error: "
STORAGE = re.compile(r"\b(s3|gs|az|hf|oci|https?|git|mlflow|models|runs|pvc)://?\S+|MLFLOW_TRACKING_URI", re.IGNORECASE)
FILE = re.compile(r"\S+\.\w{1,12}: ")
"""How errors about one file of a model begin: `model.onnx: onnxruntime cannot open it`."""
LOCAL = "kfunc run shows the same on this machine"


class StartupFault(Struct, frozen=True):
    """What keeps a process of kfunc from starting."""

    code: str
    text: str
    advice: str


def last_lines(lines: list[str], most: int = MOST_LINES) -> list[str]:
    """The last lines that say something, each as long as a screen takes."""
    said = [line.rstrip()[:MOST_WIDTH] for line in lines if line.strip()]
    return said[-most:]


def message_of(line: str) -> str:
    """The text of a line, which may be a JSON object with `message`."""
    if line.startswith("{"):
        try:
            value = msgspec.json.decode(line)
        except msgspec.DecodeError:
            return line
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            level = str(value.get("level", "")).lower()
            return f"{ERROR}{value['message']}" if level == "error" else str(value["message"])
    return line


def startup_error(lines: list[str]) -> StartupFault | None:
    """The errors with which a process of kfunc ended (exit status 2); None where there is none in the lines."""
    said = [message_of(line) for line in lines]
    errors = [line.removeprefix(ERROR) for line in said if line.startswith(ERROR)]
    if not errors:
        return None
    text = "; ".join(dict.fromkeys(errors))
    if "pip install" in text:
        return StartupFault("missing-package", text, "kfunc build puts what the runtime needs into the image")
    if "KFUNC_CONFIG" in text or any(error.startswith(("inference.", "func.yaml")) for error in errors):
        return StartupFault(
            "invalid-config", text, "kfunc validate checks func.yaml; run.envs may override it by KFUNC_… variables"
        )
    if STORAGE.search(text):
        return StartupFault("bad-storage", text, "check inference.model.uri, and that its credentials are in inference.storage")
    if "model" in text or any(FILE.match(error) for error in errors):
        return StartupFault("bad-model", text, LOCAL)
    return StartupFault("invalid-config", text, LOCAL)
