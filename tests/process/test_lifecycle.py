"""What a process of the pod does with its memory and its files when it has started."""

import subprocess
import sys

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
