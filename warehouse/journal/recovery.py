"""What a worker that died had promised: read from its files, handed over, and the files removed when the rows are safe."""

import contextlib
import errno
import logging
from dataclasses import dataclass, field
from pathlib import Path

from warehouse.journal.frames import END, Kind, decode, frame_bytes

_LOG = logging.getLogger(__name__)
DAMAGED = ".damaged"
_UNREADABLE = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})  # what a disk says of data that it has lost
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Recovered:
    """Payloads of an earlier life: `closed` are whole rows, `lost` are open records that nobody closed."""

    closed: list[bytes]
    lost: list[bytes]
    files: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    """Those of `files` that the disk could not read to the end, or in which something that is no record stands behind the last
    whole one."""

    def discard(self) -> None:
        """Remove the files, only after every row is committed. A damaged one is kept under a name that nobody reads again:
        where it was not torn at its end, as by a loss of power, it has records that only a person can still get out.
        """
        for path in self.files:
            if path in self.damaged:
                with contextlib.suppress(FileNotFoundError):  # the name is a number: the next life may come to it again
                    path.rename(path.with_name(f"{path.stem}-{path.stat().st_mtime_ns}{DAMAGED}"))
            else:
                path.unlink(missing_ok=True)


def recover(directory: Path) -> Recovered:
    """Everything in the journal files of a folder. Nothing is changed on disk. Raises: OSError: of what may be read later.

    A file whose end was cut short (the process or the machine died during a write) is read up to there: what was not
    written whole was not promised to anybody.
    """
    opened: dict[bytes, bytes] = {}
    closed: dict[bytes, bytes] = {}
    damaged: list[Path] = []
    files = sorted(directory.glob("*.journal"))
    for path in files:
        data, is_readable = _read(path)
        read = 0
        for frame in decode(data):
            read += frame_bytes(frame)
            if frame.kind is Kind.CLOSE:
                closed[frame.key] = frame.payload
                opened.pop(frame.key, None)  # a long outage leaves millions of them, and memory is needed for one of the two
            elif frame.key not in closed:
                opened[frame.key] = frame.payload
        if not is_readable or data[read : read + len(END)].strip(b"\0"):
            damaged.append(path)
            _LOG.error("journal file is damaged", extra={"file": path.name, "read_bytes": read})
    return Recovered(list(closed.values()), list(opened.values()), files, damaged)


def _read(path: Path) -> tuple[bytes, bool]:
    """What is in a file up to where the disk cannot read it, and whether that is its end. Raises: OSError: of another kind."""
    data = bytearray()
    with path.open("rb", buffering=0) as file:
        try:
            while piece := file.read(_PIECE_BYTES):
                data += piece
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            return bytes(data), False
    return bytes(data), True
