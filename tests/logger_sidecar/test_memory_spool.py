"""`spool: memory` in shared memory of its own, as a pod has it: what it takes, and what happens when there is no room."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parts import ROOT

MIB = 1024 * 1024
PRIVATE = ["unshare", "--mount", "--map-root-user", "sh", "-ec"]
MOUNT = 'mount -t tmpfs -o size=64m none /dev/shm; exec "$@"'
BEGIN = """
import asyncio, json, os, sys
from kfunc.config.logger import Logger
from kfunc.logger_sidecar.recovery import open_spool
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import CallRecord, Origin, Payload, encode_record
drops = []
def spool(**settings):
    opened = open_spool(Logger(**settings), Origin("r"), Notices(lambda reason, calls: drops.append(reason)))
    opened.subscribe(["a"])
    return opened
def record(size):
    return encode_record(CallRecord(b"/", b"c", 1, 1, 200, Payload(b"x" * size, size), Payload()))
def free():
    volume = os.statvfs("/dev/shm")
    return volume.f_bavail * volume.f_frsize
"""


def private(code: str) -> Any:
    """What the code prints as JSON, run where /dev/shm is its own and has 64 MiB."""
    try:
        subprocess.run([*PRIVATE, MOUNT, "sh", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount")
    command = [*PRIVATE, MOUNT, "sh", sys.executable, "-c", BEGIN + code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_while_the_sink_is_down_half_of_the_memory_stays_the_handlers() -> None:
    told = private("""
async def main():
    one = spool(spool="memory")
    one.start()
    for number in range(400):
        one.append(record(200_000), lambda: None)
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.2)
    print(json.dumps([one.max_bytes, free(), "full" in drops]))
asyncio.run(main())
""")
    assert told[0] == 24 * MIB
    assert told[1] > 30 * MIB
    assert told[2]


@pytest.mark.parametrize("settings", ['spool="memory"', 'spool="FOLDER", max_body_bytes=16 << 20', ""])
def test_where_there_is_no_room_the_logger_starts_all_the_same_and_leaves_no_file(settings: str, tmp_path: Path) -> None:
    code = """
with open("/dev/shm/others", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, 60 << 20)
one = spool(SETTINGS)
one.tail.stop()
one.intake.append(record(1000))
print(json.dumps([one.intake.written > 1000, sorted(os.listdir("/dev/shm"))]), flush=True)
os._exit(0)
"""
    told = private(code.replace("SETTINGS", settings.replace("FOLDER", str(tmp_path / "spool"))))
    assert told[0]
    assert [name for name in told[1] if name != "kfunc-spool"] == ["others"]
