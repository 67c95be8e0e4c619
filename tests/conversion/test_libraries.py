"""What libraries print is kept aside, and shown where it helps. In processes of their own: pytest has its own streams."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHATTER = """
import logging, os, sys
from kfunc.conversion.libraries import Libraries

def chatter():
    print("from python")
    print("half a line", end="", file=sys.stderr)
    sys.stderr.flush()
    os.write(2, b"\\nfrom native code\\n")
    logging.getLogger("kfunc.model").warning("another version has saved %s", "m.skops")

"""


def printed(script: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", CHATTER + script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_what_is_printed_is_kept_whoever_prints_it() -> None:
    script = "libraries = Libraries()\nwith libraries.kept():\n    chatter()\n"
    out, err = printed(f"{script}print(libraries.take_notes(), libraries.take_notes(), sorted(libraries.said().splitlines()))")
    assert err == ""
    assert out == "['another version has saved m.skops'] [] ['from native code', 'from python', 'half a line']\n"


def test_it_is_kept_where_the_work_fails() -> None:
    script = "libraries = Libraries()\ntry:\n    with libraries.kept():\n        chatter()\n        1 / 0\n"
    out, err = printed(f"{script}except ZeroDivisionError:\n    print(libraries.said().splitlines()[0])")
    assert (out, err) == ("another version has saved m.skops\n", "")


def test_it_is_printed_as_it_comes_where_that_is_wanted() -> None:
    out, err = printed("libraries = Libraries(shown=True)\nwith libraries.kept():\n    chatter()\nprint([libraries.said()])")
    assert out == "from python\n['']\n"
    assert err == "half a line\nfrom native code\nanother version has saved m.skops\n"
