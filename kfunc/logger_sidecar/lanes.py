"""The folders of a spool, one for each process: which one is ours, and which have been left behind.

A lane is held by a lock on its file `lock`. On a shared volume a pod's lane outlives the pod: another one that finds
it free delivers what is in it.
"""

import errno
import fcntl
import os
from socket import gethostname

import msgspec

from kfunc.logger_sidecar.intake import intake_in
from kfunc.logger_sidecar.segments import segment_paths

LOCK = "lock"
CURSORS = "cursors.json"
MAX_LANES = 1000
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # another lane would have none either


class Lane:
    """A folder that this process holds. Raises OSError.

    `key` tells the run that last wrote to it from others, and from those of a folder of the same name that was there
    before: the intake that has it goes on where the segments end.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        text = os.pread(descriptor, 8, 0)
        self.key = int.from_bytes(text, "little") if len(text) == 8 else self.renew()

    def renew(self) -> int:
        """Begin a run with an intake of its own: the new key. What is in others cannot be put behind the segments any more."""
        key = os.urandom(8)
        os.pwrite(self._descriptor, key, 0)
        self.key = int.from_bytes(key, "little")
        return self.key

    def cursors(self) -> dict[str, int]:
        """The positions of sinks that were kept here, by their names."""
        try:
            with open(os.path.join(self.path, CURSORS), "rb") as file:
                return msgspec.json.decode(file.read(), type=dict[str, int])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    def save_cursors(self, cursors: dict[str, int]) -> None:
        """Keep the positions of sinks. Raises OSError."""
        path = os.path.join(self.path, CURSORS)
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.encode(cursors))
        os.replace(f"{path}.new", path)

    def release(self) -> None:
        """Let go of the folder, unless that has been done."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def remove(self) -> None:
        """Delete the folder with all that is in it, and let go."""
        try:
            for name in os.listdir(self.path):
                os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)
        except OSError:
            pass  # then it is found, and seen to be delivered, by the next one
        self.release()


def claim_lane(root: str) -> Lane:
    """The first lane of a spool that nobody holds, made if there is none. Raises OSError."""
    for number in range(MAX_LANES):
        path = os.path.join(root, str(number))
        try:
            lane = take(path, create=True)
        except OSError as error:
            if error.errno in NO_ROOM or not os.path.isdir(path):
                raise
            continue  # another user's, or broken
        if lane is not None:
            return lane
    raise OSError(errno.EMFILE, "too many processes share the spool")


def orphans(root: str, own: str) -> list[Lane]:
    """The lanes besides `own` that have events in them and that nobody holds; they are held from now on. Raises OSError.

    One that cannot be taken (removed meanwhile, another user's) is left to others.
    """
    free = []
    for path in sorted(entry.path for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)):
        try:
            has_events = segment_paths(path) or os.path.exists(intake_in(path))
            lane = take(path, create=False) if path != own and has_events else None
        except OSError:
            continue
        if lane is not None:
            free.append(lane)
    return free


def keyed(key: int) -> str:
    """How a position is kept whose sink is known by its key only."""
    return f"#{key:016x}"


def take(path: str, *, create: bool) -> Lane | None:
    """Hold a lane; None if another process does. Where the volume knows no locks, the lane is this host's."""
    try:
        descriptor = _lock(path, create=create)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if not create:
            return None
        path = os.path.join(os.path.dirname(path), f"host-{gethostname()}")
        os.makedirs(path, exist_ok=True)
        descriptor = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if descriptor < 0:
        return None
    try:
        return Lane(path, descriptor)
    except OSError:
        os.close(descriptor)
        raise


def _lock(path: str, *, create: bool) -> int:
    if create:
        os.makedirs(path, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed between opening and locking: then another one has its name.
        same = os.fstat(descriptor).st_ino == os.stat(os.path.join(path, LOCK)).st_ino
    except FileNotFoundError:
        same = False
    except OSError:
        os.close(descriptor)
        raise
    if same:
        return descriptor
    os.close(descriptor)
    return -1
