"""Who owns which journal folder: a lock that the kernel drops when its process dies, however it dies."""

import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SLOTS_MAX = 256


@dataclass(frozen=True, slots=True)
class Slot:
    """A journal folder of which this process has the lock."""

    number: int
    directory: Path
    lock_fd: int

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.lock_fd)


def check_slots(root: Path) -> None:
    """Whether this process may use what workers have left below `root`; a start reads all of it.

    Raises: PermissionError: not all of it; its `filename` is what belongs to somebody else. What vanishes meanwhile is nobody's:
        workers that live trim their journals.
    """
    for directory in sorted(filter(_is_slot, root.iterdir())):
        _check(directory, os.R_OK | os.W_OK | os.X_OK)
        for path in (*directory.glob("lock"), *sorted(directory.glob("*.journal"))):
            _check(path, os.R_OK | os.W_OK)


def _check(path: Path, mode: int) -> None:
    if not os.access(path, mode) and path.exists():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def claim_slot(root: Path) -> Slot:
    """The first folder below `root` that nobody holds; it may have files of a worker that died.

    Raises: OSError: the folder cannot be made or written, or SLOTS_MAX workers hold one each.
    """
    root.mkdir(parents=True, exist_ok=True)
    for number in range(SLOTS_MAX):
        slot = _try(root, number)
        if slot:
            return slot
    raise OSError(f"{SLOTS_MAX} workers already write to {root}")


def claim_orphans(root: Path) -> Iterator[Slot]:
    """Folders with journal files that nobody holds: of workers that are not coming back. The caller releases each."""
    for directory in sorted(root.iterdir()):
        if _is_slot(directory) and any(directory.glob("*.journal")):
            slot = _try(root, int(directory.name))
            if slot:
                yield slot


def _is_slot(directory: Path) -> bool:
    return directory.name.isascii() and directory.name.isdigit()


def _try(root: Path, number: int) -> Slot | None:
    directory = root / str(number)
    directory.mkdir(exist_ok=True)
    lock_fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_fd)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return Slot(number, directory, lock_fd)
