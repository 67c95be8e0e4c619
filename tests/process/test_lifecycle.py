"""What a process of the pod does with its memory and its files when it has started."""

import asyncio
import subprocess
import sys

import pytest

from kfunc.process.lifecycle import Life
from kfunc.process.watcher import Note

PROGRAM = """
import gc
from kfunc.process.watcher import watch
watch()
import kfunc.process.lifecycle as lifecycle
before = gc.isenabled()
lifecycle.keep_memory()
print(before, gc.isenabled(), gc.get_freeze_count() > 0)
"""


def test_garbage_is_collected_from_the_end_of_the_start_on_and_not_among_what_was_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_process_may_open_more_files_than_the_usual_limit() -> None:
    program = "import kfunc.process.lifecycle as lifecycle, resource; lifecycle.allow_connections()"
    program += "; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    shell = f"ulimit -Sn 1024 && ulimit -Hn 4096 && exec {sys.executable} -c '{program}'"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "4096"


class Pulse:
    """Whoever would end the process."""

    def __init__(self) -> None:
        self.note = Note()
        self.promised: list[float] = []

    def promise(self, silent_s: float) -> None:
        self.promised.append(silent_s)

    def orphaned(self) -> bool:
        return False


@pytest.mark.parametrize(("hangs", "promised", "noted"), [(True, 0.0, ""), (False, 30.0, "loaded the model wine")])
def test_a_call_that_hangs_is_not_counted_against_the_model_that_is_loaded_meanwhile(
    hangs: bool, promised: float, noted: str
) -> None:
    pulse = Pulse()

    async def play() -> None:
        pulse.note.begin("loaded the model wine", "/record")
        Life(pulse).watch(30.0, lambda: hangs)

    asyncio.run(play())
    assert (pulse.promised, pulse.note.read()[0]) == ([promised], noted)
